"""Format numbers for the terminal and the report."""

from collections.abc import Iterable, Mapping
from typing import Any

from r2vpo.intervals import FEWEST_PROBLEMS

NOTHING = "–"


def duration(seconds: float | None) -> str:
    """Format seconds as ``48 s``, ``3 min 05 s`` or ``2 h 07 min``."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: float | None) -> str:
    """Format a whole number with thousands separators: ``12,800``."""
    return NOTHING if number is None else f"{round(number):,}"


def byte_size(size: float | None) -> str:
    """Format bytes as ``97 kB``, ``640 MB`` or ``2.1 GB``."""
    if size is None:
        return NOTHING
    if size < 1e6:
        return f"{size / 1e3:,.0f} kB"
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def percent(value: float | None) -> str:
    """Format a share as ``48.2 %``."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def significant(value: float | None, digits: int = 3) -> str:
    """Format a number with a few significant digits: ``0.0412``, ``2.5e-05``."""
    return NOTHING if value is None else f"{value:.{digits}g}"


def interval(accuracy: Mapping[str, Any] | None) -> str:
    """Format an accuracy with its 95 % interval: ``48.2 % (42.1 to 54.4 %)``."""
    if not accuracy or accuracy.get("value") is None:
        return NOTHING
    value, low, high = accuracy["value"], accuracy.get("low"), accuracy.get("high")
    if low is None or high is None:
        return percent(value)
    return f"{percent(value)} ({100 * low:.1f} to {100 * high:.1f} %)"


def about_intervals(sizes: Iterable[int]) -> str:
    """Return the note next to means over these numbers of problems: ``intervals are 95 %``, or why there are none."""
    sizes = list(sizes)
    few = f"fewer than {FEWEST_PROBLEMS} problems carry no interval"
    if max(sizes, default=FEWEST_PROBLEMS) < FEWEST_PROBLEMS:
        return few
    return "intervals are 95 %" + (f"; {few}" if min(sizes, default=FEWEST_PROBLEMS) < FEWEST_PROBLEMS else "")


def points(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, gain: Mapping[str, Any] | None = None
) -> str:
    """Format the difference of two accuracies in percentage points, ``+32.4 points``, with its interval if known.

    Args:
        before: accuracy before.
        after: accuracy after.
        gain: the difference with ``low`` and ``high``, as shares.
    """
    if gain and None not in (gain.get("value"), gain.get("low"), gain.get("high")):
        return f"{100 * gain['value']:+.1f} points ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
    first, last = (before or {}).get("value"), (after or {}).get("value")
    return NOTHING if first is None or last is None else f"{100 * (last - first):+.1f} points"

"""Colours of the curves: those of the style sheet's light mode in pictures, and its CSS variables on the page."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Look(NamedTuple):
    """Appearance of one of several curves, which also differ without colours."""

    color: str
    dashes: Any
    marker: str


DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (8, 2)))
MARKERS = "os^Dvp"


@dataclass(frozen=True)
class Palette:
    """Colours by role: ``series`` distinguish curves, ``ink`` is for the most important and ``muted`` for less."""

    ink: str
    muted: str
    grid: str
    limit: str
    series: tuple[str, ...]

    def look(self, number: int) -> Look:
        """Return the appearance of a curve by its number; after the last one they begin again."""
        return Look(
            self.series[number % len(self.series)], DASHES[number % len(DASHES)], MARKERS[number % len(MARKERS)]
        )


def _palette(colors: Iterable[str]) -> Palette:
    ink, muted, grid, limit, *series = colors
    return Palette(ink, muted, grid, limit, tuple(series))


_NAMES = ("ink", "muted", "grid", "limit", *(f"series-{number}" for number in range(1, 7)))
_LIGHT_MODE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8").partition("@media")[0]
_LIGHT_COLORS = dict(re.findall(r"--([\w-]+): (#\w+);", _LIGHT_MODE))
LIGHT = _palette(_LIGHT_COLORS[name] for name in _NAMES)

# Unlikely colours, so that each can be found in the SVG and replaced by its CSS variable.
CSS_VARIABLES = {f"#010a{number:02x}": f"var(--{name})" for number, name in enumerate(_NAMES)}
PLACEHOLDERS = _palette(CSS_VARIABLES)

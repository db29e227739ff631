"""The known name that a user most likely meant by one that is unknown."""

import difflib
from collections.abc import Callable, Iterable

CUTOFF = 0.6
"""The least similarity of a suggestion, from 0 to 1; what is less alike is more often misleading than helpful."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like this one, or None if none is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=CUTOFF)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", *, show: Callable[[str], object] = str) -> str:
    """Return the end of a message about an unknown name.

    Args:
        name: what the user wrote.
        known: what could have been meant.
        otherwise: what to return if none is like it.
        show: gives what the message calls a known name.

    Returns:
        ``; did you mean X?``, or `otherwise`.
    """
    close = nearest(name, known)
    return otherwise if close is None else f"; did you mean {show(close)}?"

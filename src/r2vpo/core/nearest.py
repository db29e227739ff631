"""Suggest the known name that a user most likely meant by an unknown one."""

import difflib
from collections.abc import Callable, Iterable

CUTOFF = 0.6
"""The lowest similarity of a suggestion, from 0 to 1; less similar names are more often misleading than helpful."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to this one, or None if none is similar enough."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=CUTOFF)), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", *, show: Callable[[str], object] = str) -> str:
    """Return the end of a message about an unknown name.

    Args:
        name: what the user wrote.
        known: the names that could have been meant.
        otherwise: returned if no name is similar.
        show: formats a known name for the message.

    Returns:
        ``; did you mean X?``, or `otherwise`.
    """
    close = nearest(name, known)
    return otherwise if close is None else f"; did you mean {show(close)}?"

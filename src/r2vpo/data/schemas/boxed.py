r"""The answer that a worked solution puts in a box: `\boxed{...}`."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")


def last_boxed(text: str) -> str | None:
    r"""What the last box of a text holds.

    Args:
        text: a solution. `\boxed{...}` and `\fbox{...}` are boxes, with braces nested in them, and so is
            `\boxed 5`, which holds the next word.

    Returns:
        The content without white space at both ends; None if no box is complete, or the last one is empty.
    """
    found = None
    for match in _BOX.finditer(text):
        content = _content(text, match.end())
        found = found if content is None else content
    return found or None


def _content(text: str, start: int) -> str | None:
    """What stands in braces at `start`, or the next word; None if braces are not closed."""
    if not text.startswith("{", start):
        word = re.compile(r"[^\s$}]+").match(text, start)
        return word[0].rstrip(".,;") if word else None
    depth = 0
    position = start
    while position < len(text):
        if text[position] == "\\":
            position += 1  # the next character is escaped: \{ and \} are no braces
        elif text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : position].strip()
        position += 1
    return None

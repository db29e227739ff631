r"""The box that holds the answer of a worked solution: `\boxed{...}`."""

from __future__ import annotations

import re

_BRACES = re.compile(
    r"(?P<box>\\(?:boxed|fbox)(?![A-Za-z])\s*\{)|(?P<bare>\\(?:boxed|fbox)(?![A-Za-z])\s*)|\\.|[{}]", re.DOTALL
)
_GROUP = r"(?:\d|[A-Za-z]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})"
_CONTENT = re.compile(
    rf"-?\\[dtc]?(?:frac|binom)\s*{_GROUP}\s*{_GROUP}|-?\\sqrt(?:\[[^\]{{}}]*\])?\s*{_GROUP}|[^\s$}}]+"
)


def last_box(text: str) -> str | None:
    r"""What the last box of a text holds.

    Args:
        text: a solution. `\boxed{...}` and `\fbox{...}` are boxes, with braces nested in them; so is `\boxed 5`, which
            holds the next word, and `\boxed\frac{1}{2}`, which holds the command and its arguments.

    Returns:
        The content of the complete box that begins last, without white space at both ends; it may be empty. None where
        no box is complete. One pass, whatever the braces.
    """
    opened: list[int | None] = []
    start, end, bare = -1, -1, -1
    for match in _BRACES.finditer(text):
        if match["box"]:
            opened.append(match.end())
        elif match["bare"]:
            bare = match.end()
        elif match.group() == "{":
            opened.append(None)
        elif match.group() == "}" and opened and (begin := opened.pop()) is not None and begin > start:
            start, end = begin, match.start()
    if bare > start and (word := _CONTENT.match(text, bare)) is not None:
        return word[0].rstrip(".,;")
    return None if start < 0 else text[start:end].strip()

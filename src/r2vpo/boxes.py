r"""Find the box that holds the answer of a worked solution: `\boxed{...}`."""

from __future__ import annotations

import re
from typing import NamedTuple

_BRACES = re.compile(
    r"(?P<box>\\(?:boxed|fbox)(?![A-Za-z])\s*\{)|(?P<bare>\\(?:boxed|fbox)(?![A-Za-z])\s*)|\\.|[{}]", re.DOTALL
)
_GROUP = r"(?:\d|[A-Za-z]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})"
_CONTENT = re.compile(
    rf"-?\\[dtc]?(?:frac|binom)\s*{_GROUP}\s*{_GROUP}|-?\\sqrt(?:\[[^\]{{}}]*\])?\s*{_GROUP}|[^\s$}}]+"
)


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def last_box(text: str) -> str | None:
    r"""Return the content of the last box of a text.

    Args:
        text: a solution. `\boxed{...}` and `\fbox{...}` are boxes, with braces nested in them; so is `\boxed 5`, which
            holds the next word, and `\boxed\frac{1}{2}`, which holds the command and its arguments.

    Returns:
        The content of the last complete box that is not inside another complete box, without white space at both ends;
        it may be empty. A box that contains only a box is replaced by that one. None if no box is complete. The text
        is read in one pass, whatever its braces.
    """
    opened: list[tuple[int, int] | None] = []
    complete: list[_Box] = []
    bare = -1
    for match in _BRACES.finditer(text):
        if match["box"]:
            opened.append((match.start(), match.end()))
        elif match["bare"]:
            bare = match.end()
        elif match.group() == "{":
            opened.append(None)
        elif match.group() == "}" and opened and (begin := opened.pop()) is not None:
            box = _Box(begin[0], match.end(), text[begin[1] : match.start()].strip())
            while complete and complete[-1].start > box.start:
                inner = complete.pop()
                if text[inner.start : inner.end] == box.content:
                    box = box._replace(content=inner.content)
            complete.append(box)
    if bare > (complete[-1].end if complete else -1) and (word := _CONTENT.match(text, bare)) is not None:
        return word[0].rstrip(".,;")
    return complete[-1].content if complete else None

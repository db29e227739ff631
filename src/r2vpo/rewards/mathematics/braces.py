"""Arguments of LaTeX commands, which may contain braces."""

from __future__ import annotations

import re
from collections.abc import Callable

_COMMAND = re.compile(r"\\[A-Za-z]+")
_BRACE = re.compile(r"\\.|[{}]")
CLOSING = {"{": "}", "(": ")", "[": "]"}


def closing(text: str, start: int) -> int:
    """Return where the bracket that opens at `start` is closed, or -1; escaped braces do not count."""
    opens, closes = text[start], CLOSING[text[start]]
    depth, position = 0, start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == opens:
            depth += 1
        elif character == closes:
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1


def argument(text: str, start: int) -> tuple[str, int] | None:
    """Return the argument of a command: a group without its braces, a command with its group, or one character.

    Args:
        text: LaTeX.
        start: the position at which the command's name ends.

    Returns:
        The argument and the position at which it ends, or None if there is none.
    """
    while start < len(text) and text[start] == " ":
        start += 1
    if start >= len(text) or text[start] in "}])&":
        return None
    if text[start] == "{":
        end = closing(text, start)
        return None if end < 0 else (text[start + 1 : end], end + 1)
    if command := _COMMAND.match(text, start):
        end = command.end()
        while end < len(text) and text[end] == "{" and (close := closing(text, end)) >= 0:
            end = close + 1
        return text[start:end], end
    return text[start], start + 1


def rewrite(text: str, command: re.Pattern[str], arguments: int, write: Callable[..., str]) -> str:
    """Rewrite every occurrence of a command; commands inside others are rewritten first.

    Args:
        text: LaTeX.
        command: matches the command without its arguments.
        arguments: the number of its arguments.
        write: a function from the match and the arguments to the replacement.
    """
    done, position = [], 0
    for match in command.finditer(text):
        if match.start() < position:
            continue
        found: list[str] = []
        end = match.end()
        while len(found) < arguments and (next_one := argument(text, end)) is not None:
            found.append(rewrite(next_one[0], command, arguments, write))
            end = next_one[1]
        if len(found) == arguments:
            done += [text[position : match.start()], write(match, *found)]
            position = end
    return "".join([*done, text[position:]])


def infix(text: str, command: re.Pattern[str], write: Callable[[str, str], str]) -> str:
    r"""Rewrite every command that comes between its two arguments, such as `{1 \over 2}`.

    Args:
        text: LaTeX.
        command: matches the command; its arguments are the parts of its group, or of the text, before and after it.
        write: a function from the two arguments to what replaces them and the braces of the group.
    """
    while (match := command.search(text)) is not None:
        opened: list[int] = []
        for brace in _BRACE.finditer(text, 0, match.start()):
            if brace[0] == "{":
                opened.append(brace.start())
            elif brace[0] == "}" and opened:
                opened.pop()
        start = opened[-1] if opened else -1
        end = closing(text, start) if opened else len(text)
        if end < 0:
            return text
        written = write(text[start + 1 : match.start()].strip(), text[match.end() : end].strip())
        text = text[: max(start, 0)] + written + text[end + 1 :]
    return text

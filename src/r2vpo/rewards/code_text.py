"""From a completion to the program in it."""

from __future__ import annotations

import ast
import re

_LABELS = ("python", "python3", "py")
_OPENING = re.compile(r"(`{3,}) ?([\w+#.-]*)(?: .*)?")
_NEXT = re.compile(r"\n(?=[^\s#)\]}])")


def last_block(text: str) -> str | None:
    """Return the last fenced block of Python, else the last fenced block without a label or with another one.

    Args:
        text: a completion. A block that is not closed, as in a completion that was cut off, ends with the text.

    Returns:
        The lines between the fences, or None when there is no fence.
    """
    blocks: dict[bool, str] = {}
    fence, lines, label = "", [""], ""
    for line in text.splitlines():
        bare = line.strip()
        if not fence and (opening := _OPENING.fullmatch(bare)):
            fence, label, lines = opening[1], opening[2].lower(), []
        elif fence and bare.startswith(fence) and not bare[len(fence) :][:1].isalnum():
            blocks[label in _LABELS] = "\n".join(lines) + "\n"
            fence = ""
        elif fence:
            lines.append(line)
    if fence and lines:
        blocks[label in _LABELS] = "\n".join(lines) + "\n"
    return blocks.get(True, blocks.get(False))


def programs(text: str, prefix: str, entry_point: str) -> list[str]:
    """Return the program of a completion, and what to run where that does not compile.

    Args:
        text: a completion.
        prefix: what it continues, or an empty text. A completion that defines `entry_point` itself follows the prefix,
            in which the body of the function is then made empty.
        entry_point: the function that is asked for, or an empty text.

    Returns:
        One program, or two: a continuation that goes on after the function it was to write, and breaks off there, is
        cut where the first line begins that is not indented.
    """
    block = last_block(text)
    code = text if block is None else block
    if not prefix:
        return [code]
    name = re.escape(entry_point)
    if entry_point and re.search(rf"^(?:(?:async )?def {name}\b|{name}\s*=)", code, re.MULTILINE):
        return [f"{given(prefix)}\n{code}"]
    start, *rest = _NEXT.split(code, maxsplit=1)
    return [prefix + code, f"{prefix}{start}\n"] if rest else [prefix + code]


def given(prefix: str) -> str:
    """Return a prefix as a program of its own.

    Args:
        prefix: it ends with the head of a function, or with its docstring.
    """
    lines = [line for line in prefix.splitlines() if line.strip()]
    heads = re.findall(r"^([ \t]*)(?:async )?(?:def|class) ", prefix, re.MULTILINE)
    ends = [line[: len(line) - len(line.lstrip())] for line in lines[-1:]] + [f"{head}    " for head in heads[-1:]]
    for end in ends:
        whole = f"{prefix.rstrip()}\n{end}pass\n"
        try:
            ast.parse(whole)
        except SyntaxError:
            continue
        return whole
    return prefix

"""Extract the program from a completion."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from r2vpo.rewards.code_blocks import Block, answer, blocks
from r2vpo.rewards.code_names import definitions, names_anywhere, outer_names, parsed, statements

_NEXT = re.compile(r"\n(?=[^\s#)\]}])")
_READS = re.compile(r"\binput\(|\bstdin\b|\bopen\(0|\bos\.read\(|\bfileinput\b")


class Task(NamedTuple):
    """What a completion has to write; only JSON types, since it is sent to another process.

    Attributes:
        prefix: the code that the completion continues, or an empty text.
        names: the names that it has to define: the requested function, or what the tests call.
    """

    prefix: str
    names: list[str]


def programs(text: str, prefix: str, names: Sequence[str]) -> list[str]:
    """Return the program of a completion, and what to run if it does not compile.

    Of several blocks, the one that defines the most of `names` counts, and of those the last; if there are no names,
    the last one that reads standard input, or else the last. Blocks marked as Python come before others, and code in
    blocks before code between prose. What the block uses and another block defines is put before it.

    Args:
        text: a completion.
        prefix: the code that it continues, or an empty text. A completion that itself defines one of `names` follows
            the prefix, in which the body of the function is then made empty.
        names: the names that have to be defined.

    Returns:
        One program, or several of which the first that compiles is to be used: a continuation that runs past the
        function it was to write, and breaks off there, is cut at the first line that is not indented, and prose before
        it is left out.
    """
    text = answer(text)
    found = blocks(text)
    if prefix:
        # A function's body may come before the first fence, with an example of its use inside the fence.
        continues = _is_indented(text) and parsed(prefix + _cut(text)) is not None
        whole = [block for block in found if _defines(block.text, names)]
        if continues or not whole:
            return _continuations(prefix, text, [] if continues else found)
        found = whole + [block for block in found if block not in whole]
    pieces = [Block(_dedented(block.text), block.rank) for block in found]
    if not pieces:
        return [text]
    chosen = _chosen(pieces, names)
    code = _completed(chosen, [piece.text for piece in pieces if piece.text != chosen], names, prefix)
    return [_after(given(prefix), code) if prefix else code]


def given(prefix: str) -> str:
    """Turn a prefix, which ends with the head of a function or with its docstring, into a complete program."""
    lines = [line for line in prefix.splitlines() if line.strip()]
    heads = re.findall(r"^([ \t]*)(?:async )?(?:def|class) ", prefix, re.MULTILINE)
    ends = [line[: len(line) - len(line.lstrip())] for line in lines[-1:]] + [f"{head}    " for head in heads[-1:]]
    for end in ends:
        whole = f"{prefix.rstrip()}\n{end}pass\n"
        if parsed(whole) is not None:
            return whole
    return prefix


def _dedented(text: str) -> str:
    return textwrap.dedent(text) if text[:1].isspace() else text


def _defines(code: str, names: Iterable[str]) -> int:
    """Count how many of the given names a program defines at its outermost level."""
    kinds = r"(?:async +)?def +{0}\b|class +{0}\b|{0} *(?::[^=\n]+)?=[^=]"
    return sum(re.search(rf"^(?:{kinds.format(re.escape(name))})", code, re.MULTILINE) is not None for name in names)


def _chosen(pieces: list[Block], names: Sequence[str]) -> str:
    def worth(piece: Block) -> tuple[int, int, bool]:
        return _defines(piece.text, names), piece.rank, not names and bool(_READS.search(piece.text))

    best = max(map(worth, pieces))
    return next(piece.text for piece in reversed(pieces) if worth(piece) == best)


def _continuations(prefix: str, text: str, found: list[Block]) -> list[str]:
    """Return a prefix with each text that may continue it, the most likely first."""
    fenced = [block.text for block in found if block.rank]
    bodies = [code for code in fenced if _is_indented(code)]
    own = (bodies or fenced or [text])[-1]
    body = re.search(r"^[ \t]+\S(?s:.*)", own, re.MULTILINE)
    tries = (own, _cut(own), _cut(body[0]) if body else own)
    return list(dict.fromkeys(prefix + code for code in tries))


def _is_indented(code: str) -> bool:
    return code.lstrip("\n")[:1] in (" ", "\t")


def _cut(code: str) -> str:
    """Return the text before the first line, after the first one, that is not indented."""
    start, *rest = _NEXT.split(code, maxsplit=1)
    return f"{start}\n" if rest else code


def _completed(code: str, others: list[str], names: Iterable[str], prefix: str) -> str:
    """Put before a program what it lacks and another block defines."""
    elsewhere: dict[str, str] = {}
    for other in others:
        elsewhere |= definitions(other)
    bound, used = (outer_names(code), _unbound(code)) if elsewhere else (set(), set())
    if not (bound or used):
        return code
    known = bound | outer_names(given(prefix)) | set(dir(builtins))
    before: list[str] = []
    lacking = sorted((used | set(names)) - known)
    while lacking:
        name = lacking.pop()
        if name in elsewhere and name not in known:
            known.add(name)
            before.insert(0, elsewhere[name])
            lacking += sorted(_unbound(elsewhere[name]) - known)
    return _after("\n".join(dict.fromkeys(before)), code) if before else code


def _unbound(code: str) -> set[str]:
    bound, read = names_anywhere(code)
    return read - bound


def _after(first: str, code: str) -> str:
    """Join two programs; imports of the second from `__future__` come before everything else."""
    lines, future = code.split("\n"), []
    for node in statements(code):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.lineno == node.end_lineno:
            line = lines[node.lineno - 1]
            future.append(line[node.col_offset : node.end_col_offset])
            lines[node.lineno - 1] = f"{line[: node.col_offset]}pass{line[node.end_col_offset :]}"
    return "\n".join([*future, first, *lines])

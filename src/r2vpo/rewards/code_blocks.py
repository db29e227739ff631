"""The parts of a completion that may be its program: fenced blocks, tagged text, and runs of code between prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import accumulate
from operator import length_hint
from typing import NamedTuple

from r2vpo.rewards.code_names import parsed

_PYTHON = ("python", "python3", "py", "py3", "ipython", "ipython3")
_FENCE = re.compile(r"([ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)?)(`{3,}|~{3,})([^`]*)(.*)")
_LABEL = re.compile(r"[A-Za-z][\w+#-]*")
_NAMES = r"answer|final_answer|solution|code|python|program|response|output|begin|begin solution"
_OPENING = re.compile(
    rf"(?:(.*\s)?<answer>|\s*(?:<pre>)?<(?:{_NAMES})(?: [^>]*)?>|\s*\[(?:{_NAMES})\])(.*)", re.IGNORECASE
)
_CLOSING = re.compile(
    rf"(.*?)(?:</(?:{_NAMES})>|\[/(?:{_NAMES})\]|^\s*\[(?:done|end|end solution)\])\s*(?:<\S*)?", re.IGNORECASE
)
_THOUGHT = re.compile(r"\s*<(think|thinking|thought|reasoning)>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_START = re.compile(
    r"([ \t]*)(?:(?:async +def|def|class|import|from|if|for|while|try|with|async +with)\b|@\w|"
    r"[A-Za-z_][\w.\[\]]*(?: *, *[\w.]+)*(?: *:[^=]*| *[-+*/%&|^]?)=[^=]|[A-Za-z_][\w.]*\()"
)
_TRIES, _LINES = 100, 400
"""Limits on the search for code between prose: attempts, and lines per attempt. They bound the cost of hostile text."""


class Block(NamedTuple):
    """A part of a completion.

    Attributes:
        text: its lines, without the marks that surround them.
        rank: 2 for a block marked as Python, 1 for any other block and for the text in a tag, 0 for code between prose.
    """

    text: str
    rank: int


def blocks(text: str) -> list[Block]:
    """Return the parts of a completion without its thought that may be its program, in order.

    A block that is not closed, as in a completion that was cut off, extends to the end of the text.
    """
    return _Reader(text.split("\n")).read()


def runs(lines: list[str]) -> list[Block]:
    """Return the runs of lines that are code."""
    found, place, tries = [], 0, iter(range(_TRIES))
    if parsed(whole := "\n".join(lines)) is not None:
        return [Block(whole + "\n", 0)] if whole.strip() else []
    while place < len(lines) and length_hint(tries):
        if start := _START.match(lines[place]):
            size, code = _run(lines[place : place + _LINES], start[1], tries)
            if size:
                found.append(Block(code, 0))
                place += size
                continue
        place += 1
    return found


def answer(text: str) -> str:
    """Return the text after the thought of a completion; empty if the thought does not end."""
    while opening := _THOUGHT.match(text):
        end = _THOUGHT_END.search(text, opening.end())
        text = text[end.end() :] if end else ""
    end = _THOUGHT_END.search(text)  # the prompt may have opened it
    inside_a_block = end and text.count("```", 0, end.start()) % 2 == 1
    return text[end.end() :] if end and not inside_a_block else text


def _run(lines: list[str], indent: str, tries: Iterator[int]) -> tuple[int, str]:
    """Return how many of the first lines form a program, and the program; each attempt uses up one of the tries."""
    outside = (place for place, line in enumerate(lines) if line.strip() and not line.startswith(indent))
    end = next(outside, len(lines))
    bare = [line.removeprefix(indent) for line in lines[:end]]
    for _ in tries:
        try:
            body = ast.parse("\n".join(bare[:end])).body
        except SyntaxError as error:
            end = min(end - 1, (error.lineno or end) - 1)
        except (ValueError, RecursionError, MemoryError):
            return 0, ""
        else:
            while body and _is_word(body[-1]):
                body.pop()
            end = (body[-1].end_lineno or 0) if body else 0
            return end, "\n".join(bare[:end]) + "\n"
        if end <= 0:
            break
    return 0, ""


def _is_word(statement: ast.stmt) -> bool:
    """Whether a statement is one or two words of prose, which do nothing as Python."""
    return isinstance(statement, ast.Expr) and not any(
        isinstance(node, (ast.Call, ast.Constant, ast.Await, ast.Yield, ast.YieldFrom, ast.comprehension))
        for node in ast.walk(statement)
    )


class _Reader:
    """Reader of a completion's lines; inside a fence nothing else counts, inside a tag only fences do."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        fences = [_FENCE.fullmatch(line) is not None for line in lines]
        total = sum(fences)
        self.later = [total - before for before in accumulate(fences)]
        self.found: list[Block] = []
        self.outside: list[str] = []
        self.tagged: list[str] | None = None
        self.before = 0
        self.fence, self.lead, self.rank = "", "", 1
        self.inner: list[str] = []

    def read(self) -> list[Block]:
        for place, line in enumerate(self.lines):
            if self.fence:
                self._in_fence(line)
            elif fence := _FENCE.fullmatch(line):
                self._open_fence(line, fence, place)
            elif self.tagged is not None:
                self._in_tag(line)
            else:
                self._plain(line)
        if self.fence and self.inner:
            self._close_fence()
        if self.tagged:
            self._close_tag()
        return [*runs(self.outside), *self.found] if self.outside else self.found

    def _open_fence(self, line: str, fence: re.Match[str], place: int) -> None:
        lead, mark, info, rest = fence.groups()
        label = _LABEL.search(info)
        if rest.rstrip().endswith(mark):  # all of it on one line
            code, known = (info + rest).rstrip().removesuffix(mark), _is_python(label)
            self.found.append(Block((code[label.end() :] if label and known else code).strip() + "\n", 1 + known))
        elif rest:
            self._plain(line)
        elif label is None and self._is_stray(place):
            self.found += [Block(code, 1) for code, _ in runs(self.outside)]
            self.outside = []
        else:
            self.fence, self.inner, self.lead = mark, [], lead
            self.rank = 1 + _is_python(label)

    def _is_stray(self, place: int) -> bool:
        """Whether a fence without a label ends code that no fence began."""
        return self.later[place] % 2 == 0 and bool(runs(self.outside))

    def _in_fence(self, line: str) -> None:
        text = line.strip().lstrip("> \t") if ">" in self.lead else line.strip()
        again = _FENCE.fullmatch(line)
        deeper = len(line) - len(line.lstrip()) > len(self.lead) + 3
        if text.startswith(self.fence) and not deeper and not text.strip(self.fence[0])[:1].isalnum():
            self._close_fence()
        elif again and again[2] == self.fence and not deeper and _LABEL.fullmatch(again[3].strip()):
            self._close_fence()  # the previous block was never closed, and the next one begins
            self._open_fence(line, again, 0)
        elif text.endswith(self.fence) and "`" not in (code := text.removesuffix(self.fence)) and code:
            self.inner.append(line.rstrip().removesuffix(self.fence))
            self._close_fence()
        else:
            self.inner.append(line)

    def _close_fence(self) -> None:
        lines = [_without(self.lead, line) for line in self.inner]
        self.found.append(Block("\n".join(lines) + "\n", self.rank))
        self.fence = ""

    def _plain(self, line: str) -> None:
        if opening := _OPENING.fullmatch(line):
            self.tagged, self.before = [], len(self.found)
            self.outside.append(opening[1] or "")
            self._in_tag(opening[2])
        elif closing := _CLOSING.fullmatch(line):  # the prompt may have opened it
            self.tagged, self.before, self.outside = [*self.outside, closing[1]], len(self.found), []
            self._close_tag()
        else:
            self.outside.append(line)

    def _in_tag(self, line: str) -> None:
        assert self.tagged is not None
        if closing := _CLOSING.fullmatch(line):
            self.tagged.append(closing[1])
            self._close_tag()
        elif self.tagged or line.strip():
            self.tagged.append(line)

    def _close_tag(self) -> None:
        if len(self.found) == self.before and self.tagged:  # otherwise its fences contain the code
            self.found += [Block(code, 1) for code, _ in runs(self.tagged)] or [Block("\n".join(self.tagged) + "\n", 1)]
        self.tagged = None


def _is_python(label: re.Match[str] | None) -> bool:
    return label is not None and label[0].lower() in _PYTHON


def _without(lead: str, line: str) -> str:
    """Return a line without the prefix of the opening fence: a list's indentation or quotation marks."""
    if ">" in lead:
        return re.sub(r"^[ \t]*(?:> ?)+", "", line)
    width = len(lead)
    return line[min(width, len(line) - len(line.lstrip())) :]

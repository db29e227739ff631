"""The pages of the documentation and their blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "src/r2vpo/sandbox/README.md")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [*(ROOT / name for name in OTHERS), *sorted((ROOT / "docs").rglob("*.md"))]
}
_BLOCK = re.compile(r"^(?:<!-- not run: (.+?) -->\n+)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code: its page, its number there, its language, its text, and why it is not run, if it is not."""

    page: str
    number: int
    language: str
    text: str
    not_run: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.number}"


BLOCKS = [
    Block(page, number, language, text, reason)
    for page, content in PAGES.items()
    for number, (reason, written, text) in enumerate(_BLOCK.findall(content), start=1)
    for language in ["sh" if written in ("bash", "shell") else written]
]


def blocks(language: str) -> list[Block]:
    """Those of a language that are to be run."""
    return [block for block in BLOCKS if block.language == language and not block.not_run]


def commands(text: str) -> list[str]:
    """The commands of a block of shell, without comments; lines that end in a backslash are joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

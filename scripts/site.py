"""Gather the pages of the documentation site in build/docs; `make docs` then builds them with Zensical.

The site has every page of docs/, README.md as its home page, and the repository's other pages. A file of the repository
that a page links to gets its own page, so that every link leads to a page of the site. A link to a file
that does not exist is an error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "docs"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "src/r2vpo/sandbox/README.md")
FENCE = re.compile(r"^( *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()(?!https?://|mailto:|#)([^)\s#]*)(#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".sh": "sh", ".yaml": "yaml", ".toml": "toml", ".json": "json"}


def main() -> None:
    """Write all pages and what they need."""
    shutil.rmtree(BUILT, ignore_errors=True)
    shutil.copytree(ROOT / "docs", BUILT)
    pages = [*(ROOT / name for name in PAGES), *(ROOT / "docs").rglob("*.md")]
    written = set(pages)
    shown: set[Path] = set()
    for page in pages:
        _write(page, page.read_text(encoding="utf-8"), shown)
    while files := shown - written:
        for file in files:
            _write(file, _as_markdown(file), shown)
        written |= files
    print(f"{len(pages)} pages and {len(written) - len(pages)} files in {BUILT.relative_to(ROOT)}")


def place(source: Path) -> Path:
    """Return where a file or folder of the repository is in the site."""
    if source == ROOT / "README.md":
        return BUILT / "index.md"
    if source.is_relative_to(ROOT / "docs"):
        return BUILT / source.relative_to(ROOT / "docs")
    inside = BUILT / source.relative_to(ROOT)
    return inside if inside.suffix == ".md" else inside.with_name(f"{inside.name}.md")


def _write(source: Path, text: str, shown: set[Path]) -> None:
    parts = FENCE.split(text)
    # Every second part is a block of code.
    parts[::2] = [_lists(_links(part, source, shown)) for part in parts[::2]]
    place(source).parent.mkdir(parents=True, exist_ok=True)
    place(source).write_text("".join(parts), encoding="utf-8")


def _links(text: str, source: Path, shown: set[Path]) -> str:
    """Let links lead to where their targets are in the site, and note the files that have to be shown."""

    def moved(match: re.Match[str]) -> str:
        target = (source.parent / match[2]).resolve()
        if not target.exists():
            raise SystemExit(f"error: {source.relative_to(ROOT)} links to {match[2]}, which does not exist")
        if not target.is_relative_to(ROOT / "docs"):
            shown.add(target)
        return f"{match[1]}{os.path.relpath(place(target), place(source).parent)}{match[3] or ''})"

    return LINK.sub(moved, text)


def _lists(text: str) -> str:
    """Write lists as Python-Markdown reads them: after an empty line, nested by four spaces."""
    text = re.sub(r"^(?![-*|#>] |\d+\. | |$)(.+)\n(?=(?:[-*]|\d+\.) )", r"\1\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^((?:  )+)(?=[-*] )", lambda match: match[1] * 2, text, flags=re.MULTILINE)


def _as_markdown(file: Path) -> str:
    title = f"# {file.relative_to(ROOT)}\n\n"
    if file.is_dir():
        return title + "".join(
            f"- [{inner.name}]({file.name}/{inner.name})\n" for inner in sorted(file.iterdir()) if inner.is_file()
        )
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        parts = ["".join(cell["source"]) for cell in cells]
        return title + "\n\n".join(
            part if cell["cell_type"] == "markdown" else f"```python\n{part}\n```"
            for cell, part in zip(cells, parts, strict=True)
        )
    return f"{title}````{LANGUAGES.get(file.suffix, 'text')}\n{text}````\n"


if __name__ == "__main__":
    main()

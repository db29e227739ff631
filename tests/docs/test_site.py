"""Pages are gathered so that links work on the site, and lists are lists for Python-Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripts import site


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a README, a page, a script, a notebook and a folder."""
    monkeypatch.setattr(site, "ROOT", tmp_path)
    monkeypatch.setattr(site, "BUILT", tmp_path / "build" / "docs")
    monkeypatch.setattr(site, "PAGES", ("README.md",))
    cells = [{"cell_type": "markdown", "source": ["Hello"]}, {"cell_type": "code", "source": ["x = 1\n", "y = 2"]}]
    files = {
        "README.md": "See [page](docs/guide/page.md#part), [loop](examples/loop.py), [more](examples/more).\n",
        "docs/guide/page.md": "Text:\n- one\n  - [home](../../README.md)\n\n```sh\nls [x](y.md)\n- no list\n```\n",
        "examples/loop.py": "print(1)\n",
        "examples/more/tour.ipynb": json.dumps({"cells": cells}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    site.main()
    return tmp_path / "build" / "docs"


def test_links_lead_to_pages_of_the_site(repository: Path) -> None:
    home = (repository / "index.md").read_text(encoding="utf-8")
    assert home == "See [page](guide/page.md#part), [loop](examples/loop.py.md), [more](examples/more.md).\n"
    assert "[home](../index.md)" in (repository / "guide" / "page.md").read_text(encoding="utf-8")


def test_files_and_folders_that_are_linked_have_pages(repository: Path) -> None:
    assert "````python\nprint(1)\n````" in (repository / "examples" / "loop.py.md").read_text(encoding="utf-8")
    assert "[tour.ipynb](more/tour.ipynb.md)" in (repository / "examples" / "more.md").read_text(encoding="utf-8")
    notebook = (repository / "examples" / "more" / "tour.ipynb.md").read_text(encoding="utf-8")
    assert notebook.endswith("Hello\n\n```python\nx = 1\ny = 2\n```")


def test_lists_are_separate_and_nested_by_four_but_code_stays(repository: Path) -> None:
    page = (repository / "guide" / "page.md").read_text(encoding="utf-8")
    assert page.startswith("Text:\n\n- one\n    - [home]")
    assert page.endswith("```sh\nls [x](y.md)\n- no list\n```\n")


def test_a_link_to_nothing_is_an_error(repository: Path) -> None:
    (site.ROOT / "README.md").write_text("[gone](docs/gone.md)", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"README\.md links to docs/gone\.md, which does not exist"):
        site.main()

"""The committed pages of docs/results are those that their files of numbers produce."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("publish_comparison", ROOT / "benchmarks" / "publish_comparison.py")
assert _spec is not None and _spec.loader is not None
publish = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(publish)
CONTENTS = {content["experiment"]: content for content in publish.published()}


def test_every_page_has_its_numbers() -> None:
    assert set(CONTENTS) == {path.stem for path in publish.PAGES.glob("*.md")}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_page_is_what_its_numbers_give(name: str) -> None:
    assert (publish.PAGES / f"{name}.md").read_text(encoding="utf-8") == publish.page(CONTENTS[name])


def test_a_page_follows_its_numbers() -> None:
    """A different accuracy changes the page."""
    content = CONTENTS["curriculum"]
    other = content | {"results": [run | {"accuracy": [0.5 for _ in run["accuracy"]]} for run in content["results"]]}
    assert publish.page(other) != publish.page(content)

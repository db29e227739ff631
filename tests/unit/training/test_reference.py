"""docs/reference is what the declarations say."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from r2vpo import environment
from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe
from r2vpo.core.objectives import OBJECTIVES, own_options

ROOT = Path(__file__).parents[3]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str = "recipe.md") -> str:
    return (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


PAGES = ("recipe.md", "recipe.schema.json", "command_line.md", "environment.md")


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_up_to_date(name: str) -> None:
    module = script()
    assert {*module.PAGES} == {*PAGES}
    assert page(name) == module.PAGES[name](), "run: python scripts/reference.py"


def test_every_variable_that_is_read_is_declared() -> None:
    declared = {variable.name for variable in (*environment.OWN, *environment.SHARED)}
    # Set by torch's launcher for a process's own use.
    declared |= {"TORCHELASTIC_ERROR_FILE"}
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert {*re.findall(r"\bR2VPO_[A-Z_]+\b", text)} <= declared, file
        assert {*re.findall(r"environ(?:\.get\(|\[)\s*\"(\w+)\"(?!\] =)", text)} <= declared, file


def test_every_option_is_on_the_page() -> None:
    text = page("command_line.md")
    for line in ("## `r2vpo train`", "## `r2vpo rewards check`", "| `--accelerate` `NAME` |", "| `--log-level` `debug"):
        assert line in text
    assert "--for" not in text


def test_the_reference_has_every_setting() -> None:
    text = page()
    for key in known_keys(Recipe):
        assert f"`{key}`" in text, key
    for name in OBJECTIVES:
        for option in own_options(name):
            assert f"| `{name}` | `{option}` |" in text


def test_what_only_studies_need_comes_after_what_a_user_sets() -> None:
    first, studies = page().split("\n## For studies\n")
    for key in ("rollout.lag", "rollout.dtype", "dual.kind", "step_control.kind", "model.seed"):
        assert f"| `{key}` |" in studies and f"| `{key}` |" not in first
    assert "| `rollout.max_new_tokens` |" in first and "| `dual.lower` |" in first

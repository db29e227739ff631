"""What the pages name exists: settings, the public names, the entries of the site's navigation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

import r2vpo
from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.config.shipped import RECIPES
from r2vpo.core.objectives import OBJECTIVES, own_options
from r2vpo.rewards.registry import REWARDS
from tests.docs.pages import PAGES, ROOT

# Other programs' settings, and those of experiments, suites and records.
OTHERS = {"docs/integrations.md", "docs/comparing.md", "docs/evaluation.md", "docs/history.md"}
# What a setting cannot be tried without.
NEEDS = {
    "trainer.optimizer": ["step_control.enabled=false"],
    "objective.options.clip_high": ["objective.name=clip"],
}
SETTING = re.compile(rf"`((?:{'|'.join(Recipe.model_fields)})\.[a-z_.]+)(=[^`\s]+)?`")


@pytest.mark.parametrize("page", sorted(set(PAGES) - OTHERS))
def test_the_settings_it_names_exist(page: str) -> None:
    own = {f"objective.options.{option}" for name in OBJECTIVES for option in own_options(name)}
    rewards = {f"reward.{option}" for kind in REWARDS.values() for option in kind.options.model_fields}
    known = set(known_keys(Recipe)) | own | rewards
    named = [
        match
        for match in SETTING.findall(PAGES[page])
        if not re.search(r"\.(jsonl?|yaml|md|py|html|safetensors)$", match[0])
    ]
    assert [name for name, _ in named if name not in known] == []
    for name, value in named:
        if value and not name.startswith(("data.", "model.name")):
            together = NEEDS.get(name, [])
            load_recipe(RECIPES.find("quickstart"), [f"{name}{value}", *together])


def test_the_python_page_has_every_public_name() -> None:
    shown = re.findall(r"^::: (r2vpo\.[\w.]+)$", PAGES["docs/reference/python.md"], re.MULTILINE)
    assert {name.rpartition(".")[2] for name in shown} == set(r2vpo.__all__)


def entries(nav: list[dict[str, Any]]) -> Iterator[str]:
    for item in nav:
        for inner in item.values():
            if isinstance(inner, str):
                yield inner
            else:
                yield from entries(inner)


def test_the_navigation_has_every_page() -> None:
    """Except the tables of single comparisons, to which the results link."""
    listed = list(entries(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]))
    assert len(listed) == len(set(listed))
    pages = {name.removeprefix("docs/") for name in PAGES if not name.startswith("docs/results/")}
    pages |= {"index.md", "CHANGELOG.md"}
    assert set(listed) == pages - {"README.md", "SECURITY.md"}

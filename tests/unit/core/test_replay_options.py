"""The options of a store: what may be written for them, and when `newer_than` is."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from r2vpo.config.recipe import dump_recipe, load_recipe
from r2vpo.core.declaration import UnknownOption
from r2vpo.core.replay_options import ReplayOptions, SourceOptions, moment

DAY = 86_400.0


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ("monday", SourceOptions(runs=["monday"])),
        ({}, SourceOptions()),
        ({"tags": "night", "ratio": 2}, SourceOptions(tags=["night"], ratio=2)),
        ({"newer_than": date(2026, 11, 30)}, SourceOptions(newer_than="2026-11-30")),
        (SourceOptions(max_age_versions=3), SourceOptions(max_age_versions=3)),
    ],
)
def test_a_source_in_its_forms(written: Any, source: SourceOptions) -> None:
    assert ReplayOptions.of({"store": "x.db", "from": written}, "replay").from_ == source


def test_a_recipe_has_the_key_and_comes_back(tmp_path: Path) -> None:
    recipe = load_recipe("quickstart", ["replay.store=x.db", "replay.from.runs=a", "replay.tags=[b, c]"])
    assert recipe.replay == ReplayOptions(5, 0.5, None, "x.db", ["b", "c"], SourceOptions(runs=["a"]))
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    assert "from:\n" in dump_recipe(recipe) and "from_" not in dump_recipe(recipe)
    assert load_recipe(tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"from": "a"}, "replay.from has no effect without a store: set replay.store"),
        ({"tags": "a"}, "replay.tags has no effect without a store"),
        ({"store": "x", "from": {"newer_than": "yesterday"}}, "newer_than is 'yesterday'; write a date"),
        ({"store": "x", "from": {"runs": [1]}}, "replay.from.runs is .1.; it must be a list of texts"),
        ({"store": "x", "tags": [1]}, "replay.tags is .1.; it must be a list of texts"),
        ({"store": "x", "from": {"ratio": 0}}, "replay.from.ratio is 0; it must be above 0"),
        ({"store": "x", "from": {"max_age_versions": 0}}, "must be at least 1"),
        ({"store": 3}, "replay.store is 3; it must be a text"),
    ],
)
def test_what_is_refused(written: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ReplayOptions.of(written, "replay")


def test_unknown_keys_name_the_known_ones() -> None:
    for written in ({"from": {"run": "a"}}, {"from_": {}}):
        with pytest.raises(UnknownOption, match=r"did you mean replay\.from"):
            ReplayOptions.of({"store": "x", **written}, "replay")


def test_moments() -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()
    assert moment("7d", now=now) == now - 7 * DAY and moment("1.5h", now=now) == now - 5400
    assert moment("2026-11-30", now=now) == now - DAY / 2
    assert moment("2026-11-30T14:00:00+02:00", now=0) == now
    assert [moment(text, now=now) for text in ("90s", "90m", "2w")] == [now - 90, now - 5400, now - 14 * DAY]

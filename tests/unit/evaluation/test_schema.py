"""The suites that come with the package, and suites that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from r2vpo.config.shipped import SUITES
from r2vpo.data import DatasetOptions, load_held_out
from r2vpo.data.schemas import SCHEMAS
from r2vpo.errors import UserError
from r2vpo.evaluation.resolve import Evaluation, resolve
from r2vpo.evaluation.schema import EvaluationConfig, Suite, load_suite
from r2vpo.evaluation.subject import Subject
from r2vpo.rewards import REWARDS
from tests.integration.evaluation import SUITE, write_suite
from tests.unit.data.writing import write

LISTED = SUITES.listed()


def resolved(suite: Suite) -> Evaluation:
    return resolve(EvaluationConfig(model="m", weights="m", suite=suite), Subject("m", "m"), Console())


def test_the_suites_of_the_documents_are_there() -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    assert LISTED and all(f"| `{name}` |" in page for name in LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_every_suite_loads_under_its_name_and_says_what_it_is(name: str) -> None:
    suite = load_suite(SUITES.find(name))
    assert suite.name == name
    assert LISTED[name].read_text().startswith("# ")
    assert suite.reward.all_parts()[0].name in REWARDS
    if isinstance(suite.data, DatasetOptions):
        assert suite.data.layout in SCHEMAS
        assert suite.data.held_out_size is None and suite.data.few_shot == 0, "its problems alone are read"


@pytest.mark.parametrize("name", [name for name in LISTED if "dataset" not in LISTED[name].read_text()])
def test_what_needs_no_download_makes_its_problems_and_grades_them(name: str) -> None:
    suite = load_suite(SUITES.find(name))
    found = resolved(suite)
    rows, reward = found.rows, found.reward
    assert len(rows) == suite.data.held_out_size
    columns = [row.columns() for row in rows]
    scores = reward(
        prompts=[row.prompt for row in rows],
        completions=[row.answer for row in rows],
        **{key: [column[key] for column in columns] for key in ("answer", "difficulty", "source", "metadata")},
    )
    # reasoning-gym's own answers score 1 by its own scorers
    assert [score for row, score in zip(rows, scores, strict=True) if row.answer] == [1.0] * sum(
        bool(row.answer) for row in rows
    )


def test_arithmetic_is_what_quickstart_holds_out() -> None:
    from r2vpo.config.recipe import load_recipe
    from r2vpo.config.shipped import RECIPES
    from r2vpo.data import load_data

    recipe = load_recipe(RECIPES.find("quickstart"))
    expected = load_data(recipe.data, seed=recipe.seed).held_out
    assert resolved(load_suite(SUITES.find("arithmetic"))).rows == expected


def test_a_file_of_ones_own_is_a_suite_of_all_its_rows(tmp_path: Path) -> None:
    rows = [{"prompt": f"{i}+1=", "answer": i + 1} for i in range(5)]
    path = write(tmp_path / "mine.jsonl", rows)
    text = f"name: mine\ndata: {{source: dataset, path: {path}, held_out_path: {path}, held_out_size: null}}\n"
    suite = load_suite(write_suite(tmp_path, text + "reward: {name: exact}\n"))
    assert [row.prompt for row in resolved(suite).rows] == [row["prompt"] for row in rows]
    assert len(load_held_out(suite.data, seed=0)) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SUITE.replace("k: 3", "k: -1"), "sampling.k is -1; it must be at least 0"),
        (SUITE.replace("temperature", "x").replace("k: 3", "tempreature: 1.0"), "did you mean sampling.temperature?"),
        (SUITE.replace("source: reasoning_gym", "source: gym"), "choose one of"),
        (SUITE.replace("tests.integration.evaluation:mostly_even", "exakt"), "reward.name is 'exakt'"),
        ("- a list", "the suite must be a mapping of keys to values, and this is a list: start it with"),
        ("name: [", "not valid YAML at line 1"),
    ],
)
def test_a_wrong_suite_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_suite(write_suite(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no such suite; did you mean arithmetic"):
        SUITES.find("arithmetics")

"""docs/data.md names every option and every schema, and its examples are read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from r2vpo.config.recipe import Recipe
from r2vpo.data import PromptRow
from r2vpo.data.options import (
    DatasetOptions,
    HabitOptions,
    InstructionsOptions,
    PairSchemaName,
    PreferencesOptions,
    SchemaName,
)
from r2vpo.data.schemas import PAIR_SCHEMAS, SCHEMAS, Columns

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


def table(heading: str, section: str = "") -> list[list[str]]:
    """Cells of the rows below a table's head, of the first such table from a section on."""
    lines = PAGE[PAGE.index(section) :].split(f"\n| {heading} |", 1)[1].splitlines()[2:]
    rows = lines[: next(place for place, line in enumerate([*lines, ""]) if not line.startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_option_is_there_with_its_default() -> None:
    found: dict[str, str] = {}
    for names, defaults, *_ in table("key of `data`"):
        keys = re.findall(r"`(\w+)`", names)
        found |= dict(zip(keys, defaults.replace("`", "").split(", "), strict=True))
    fields = {field.alias or name: field for name, field in DatasetOptions.model_fields.items() if name != "source"}
    assert set(found) == set(fields)
    shown = {key: "" if field.is_required() else field.default for key, field in fields.items()}
    assert found == {key: "null" if value is None else str(value) for key, value in shown.items()}


@pytest.mark.parametrize(("section", "data"), [("## Habit", HabitOptions), ("## Instructions", InstructionsOptions)])
def test_the_options_of_sources_without_files_are_there_with_their_defaults(
    section: str, data: type[HabitOptions] | type[InstructionsOptions]
) -> None:
    found = {key.strip("`"): default.strip("`") for key, default, _ in table("key", section)}
    fields = {name: field for name, field in data.model_fields.items() if name != "source"}
    assert found == {name: "null" if field.default is None else str(field.default) for name, field in fields.items()}


def test_every_schema_is_there_and_its_example_is_read() -> None:
    rows = table("`schema` | columns, with an example")
    assert [row[0].strip("`") for row in rows] == list(get_args(SchemaName))
    for name, example, *_ in rows:
        record = json.loads(re.search(r"`(\{.*?\})`", example)[1])
        assert isinstance(SCHEMAS[name.strip("`")].read(record, Columns()), PromptRow), name


def test_preferences_are_there_with_what_they_have_beside_a_data_set() -> None:
    found: dict[str, str] = {}
    for names, defaults, *_ in table("key of preferences"):
        found |= dict(zip(re.findall(r"`(\w+)`", names), defaults.replace("`", "").split(", "), strict=True))
    fields = {field.alias or name: field for name, field in PreferencesOptions.model_fields.items()}
    assert found == {name: "null" if fields[name].default is None else fields[name].default for name in found}
    assert set(found) - {"schema", "held_out_schema"} == set(fields) - {
        field.alias or name for name, field in DatasetOptions.model_fields.items()
    }
    rows = table("`schema` of preferences")
    assert [row[0].strip("`") for row in rows] == list(get_args(PairSchemaName)) == list(PAIR_SCHEMAS)
    for name, example, *_ in rows:
        record = json.loads(re.search(r"`(\{.*?\})`", example)[1])
        row = PAIR_SCHEMAS[name.strip("`")].read(record, Columns())
        assert isinstance(row, PromptRow) and row.pair is not None, name


def test_the_recipes_are_sections_of_one() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    settings = {key: value for block in blocks for key, value in yaml.safe_load(block).items()}
    data = Recipe.model_validate({"name": "mine", "reward": {"name": "exact"}, **settings}).data
    assert isinstance(data, DatasetOptions)
    assert (data.path, data.layout, data.held_out_split) == (["openai/gsm8k"], "gsm8k", "test")

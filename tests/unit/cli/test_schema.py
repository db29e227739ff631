"""The JSON schema accepts what the reader accepts, and refuses what it refuses, as far as a schema can say it."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import jsonschema
import pytest

from r2vpo.cli.main import main
from r2vpo.cli.schema import schema_of
from r2vpo.config.errors import validated
from r2vpo.config.known_keys import key_choices, known_keys
from r2vpo.config.overrides import set_key
from r2vpo.config.recipe import Recipe
from r2vpo.config.shipped import EXPERIMENTS, RECIPES, SUITES
from r2vpo.config.yaml_files import read_mapping
from r2vpo.core.method_options import LOSS_OF
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.errors import UserError

KINDS = {"train": RECIPES, "eval": SUITES, "compare": EXPERIMENTS}
SMALL: dict[str, Any] = {"name": "a", "data": {"source": "reasoning_gym", "mixture": [{"family": "chain_sum"}]}}
REFUSED: dict[str, dict[str, Any]] = {
    "unknown key": {"trainr": {}},
    "unknown key within": {"trainer": {"learning_rat": 1e-4}},
    "unknown key of the core": {"objective": {"dleta": 0.1}},
    "wrong type": {"trainer": {"learning_rate": "fast"}},
    "number as text": {"seed": "1"},
    "wrong choice": {"objective": {"name": "grpoo"}},
    "out of bounds": {"trainer": {"max_steps": 0}},
    "out of bounds of the core": {"objective": {"delta": -1}},
    "option of another objective": {"objective": {"name": "clip", "options": {"tau_pos": 1.0}}},
    "option out of bounds": {"objective": {"name": "clip", "options": {"clip_low": -0.1}}},
    "data without a source": {"data": {"mixture": [{"family": "chain_sum"}]}},
    "data of another source": {"data": {"source": "habit", "mixture": []}},
    "unknown reward": {"reward": {"name": "exakt"}},
    "option of another reward": {"reward": {"name": "numeric", "memory_megabytes": 512}},
    "option of the default reward": {"reward": {"tolerance": 0.1}},
    "option of another objective by a method's name": {"objective": {"name": "ppo", "options": {"tau_pos": 1.0}}},
    "no value of the first option": {"dual": "ascend"},
    "a list for a section": {"replay": [1]},
    "a section without the short form": {"trainer": "adamw"},
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "option of an objective": {"objective": {"name": "clip", "options": {"clip_low": 0.1}}},
    "own reward": {"reward": {"name": "my.module:score"}},
    "parts": {"reward": {"parts": [{"name": "exact"}, {"name": "length", "max_tokens": 9, "cache_tokens": 3}]}},
    "whole number": {"objective": {"delta": 1}, "trainer": {"learning_rate": 1}},
    "null": {"objective": {"level": None}, "reward": {"seconds_per_item": None}},
    "one path": {"data": {"source": "dataset", "path": "a.jsonl"}, "reward": {"name": "exact"}},
    "method of another name": {"objective": {"name": "GRPO", "options": {"clip_low": 0.1}}},
    "penalty by its delta": {"objective": {"name": "clip", "ratio_variance": 0.1}},
    "several paths": {"data": {"source": "dataset", "path": ["a.jsonl", "b.jsonl"]}, "reward": {"name": "exact"}},
}


def validator(kind: str) -> Any:
    jsonschema.Draft202012Validator.check_schema(schema_of(kind))
    return jsonschema.Draft202012Validator(schema_of(kind))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, files in KINDS.items() for name in files.listed()])
def test_every_shipped_file_is_valid(kind: str, name: str) -> None:
    content = read_mapping(KINDS[kind].listed()[name], kind)
    assert [error.message for error in validator(kind).iter_errors(content)] == []


@pytest.mark.filterwarnings("ignore:objective.name = ")
@pytest.mark.parametrize("what", REFUSED)
def test_what_the_reader_refuses_is_invalid(what: str) -> None:
    content = copy.deepcopy(SMALL) | REFUSED[what]
    with pytest.raises(UserError):
        validated(Recipe, content, source="here")
    assert not validator("train").is_valid(content)


@pytest.mark.filterwarnings("ignore:objective.name = ")
@pytest.mark.parametrize("what", ACCEPTED)
def test_what_the_reader_accepts_is_valid(what: str) -> None:
    content = copy.deepcopy(SMALL) | ACCEPTED[what]
    validated(Recipe, content, source="here")
    assert [error.message for error in validator("train").iter_errors(content)] == []


VALUES: tuple[Any, ...] = (0, 1, 2, 0.5, 1.5, True, False, None, [], {}, "a", ["a"], [0.9], {"a": 1})
SOURCES: tuple[dict[str, Any], ...] = (
    SMALL,
    {"name": "a", "data": {"source": "habit"}, "reward": {"name": "exact"}},
    {"name": "a", "data": {"source": "dataset", "path": "a.jsonl"}, "reward": {"parts": [{"name": "exact"}]}},
    {"name": "a", "data": {"source": "instructions"}, "reward": {"name": "constraints"}},
)


@pytest.mark.filterwarnings("ignore:objective.name = ")
@pytest.mark.parametrize("small", SOURCES, ids=lambda one: one["data"]["source"])
def test_every_form_that_the_reader_accepts_is_valid(small: dict[str, Any]) -> None:
    check, choices = validator("train"), key_choices(Recipe)
    sections = {".".join(key.split(".")[:depth]) for key in choices for depth in range(1, key.count(".") + 1)}
    texts = {one for values in choices.values() for one in values} | set(LOSS_OF)
    accepted = set()
    for key in [*choices, *sections]:
        if small is not SMALL and not key.startswith(("data", "reward")):
            continue
        first = next((values for name, values in choices.items() if name.rpartition(".")[0] == key), ())
        for value in (*VALUES, *(texts if key in ("objective", "objective.name") else choices.get(key, first))):
            content = copy.deepcopy(small)
            try:
                set_key(content, key, value, where="here")
                validated(Recipe, content, source="here")
            except UserError:
                continue
            accepted.add((key, repr(value)))
            assert [error.message for error in check.iter_errors(content)] == [], (key, value)
    bare = {
        ("objective", "'clip'"),
        ("objective", "'grpo'"),
        ("dual", "'ascent'"),
        ("replay", "1"),
        ("curriculum", "True"),
    }
    assert small is not SMALL or bare <= accepted


def test_every_key_is_described_and_has_the_reader_s_default() -> None:
    schema = schema_of("train")
    definitions = schema["$defs"]

    def keys(definition: dict[str, Any], prefix: str) -> set[str]:
        found = set()
        for name, part in definition["properties"].items():
            found.add(prefix + name)
            inner = [part, *part.get("anyOf", []), *part.get("oneOf", []), part.get("items", {})]
            inner += [one.get("items", {}) for one in part.get("anyOf", [])]
            references = [one["$ref"].rpartition("/")[2] for one in inner if "$ref" in one]
            for reference in references:
                found |= keys(definitions[reference], f"{prefix}{name}.")
            assert part.get("description") or prefix + name == "data", prefix + name
        return found

    found = keys(schema, "")
    for key in known_keys(Recipe):
        assert key.replace(".0", "") in found, key
    replay = definitions["ReplayOptions"]["properties"]["versions"]
    (declared,) = (field for field in dataclasses.fields(ReplayOptions) if field.name == "versions")
    assert (replay["default"], replay["minimum"]) == (declared.default, declared.metadata["at_least"])


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in KINDS:
        assert main(["schema", kind]) == 0
        assert json.loads(capsys.readouterr().out) == schema_of(kind)

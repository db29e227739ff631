"""Two hundred generated bad inputs: exit 2 with one line, or a run, if the value happens to be a good one."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from r2vpo.config.recipe import dump_recipe, load_recipe
from tests.faults.campaign import ALL, one_line
from tests.faults.children import command
from tests.integration.cli import RECIPE, write_recipe

pytestmark = pytest.mark.slow

COUNT = 200 if ALL else 40
SMALL = {"max_steps": 4, "save_steps": 4, "threads": 1}
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 10**6, 2**31, 2**63, 10**400, -0.5, 1e-300, 1e300, float("nan"), float("inf")),
    *("", " ", "x", "\x00", "\ud800", "é" * 5000, "1e-3", "../..", "/dev/zero", "/dev/null", "${HOME}"),
    *([], [None], [[[]]], {}, {"x": 1}),
)
INSERTED = ("\t", "{", "]", ":", "&a ", "*a", "!!python/object:os.system ", "\x07", "- ", "'", "%", "\n")
ROWS = (
    b"",
    b"\n\n",
    b"{}\n",
    b"[1]\n",
    b'{"prompt": 1, "answer": 2}\n',
    b'{"prompt": "a"}\n',
    b'{"prompt": "a", "answer": null}\n',
    b'{"prompt": "", "answer": ""}\n',
    b'{"prompt": "a", "answer": "b"',
    b'{"prompt": "a", "answer": "b", "difficulty": [1]}\n',
    b'{"prompt": "\\ud800", "answer": "b"}\n' * 30,
    b"\xff\xfe" * 40,
    b"[" * 10_000,
    b'{"prompt": ' + b"9" * 6000 + b"}\n",
)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places of a recipe, sections too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, item in inner for place in leaves(item, (*path, key))]
    return [*found, path] if path else found


def changed(recipe: dict[str, Any], path: tuple[str | int, ...], value: Any) -> str:
    content = json.loads(json.dumps(recipe))
    inside = content
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return yaml.safe_dump(content, allow_unicode=True)


def of_a_value(recipe: dict[str, Any], draws: random.Random) -> tuple[str, str]:
    path = draws.choice(leaves(recipe))
    value = draws.choice(VALUES)
    return f"{'.'.join(map(str, path))} = {str(value)[:40]!r}", changed(recipe, path, value)


def of_a_key(recipe: dict[str, Any], draws: random.Random) -> tuple[str, str]:
    path = draws.choice([path for path in leaves(recipe) if isinstance(path[-1], str)])
    return f"beside {path}", changed(recipe, (*path[:-1], str(path[-1])[:-1] + "x"), 1)


def of_the_text(recipe: dict[str, Any], draws: random.Random) -> tuple[str, str]:
    text = yaml.safe_dump(recipe)
    place = draws.randrange(len(text))
    inserted = draws.choice(INSERTED)
    return f"{inserted!r} at {place}", text[:place] + inserted + text[place:]


Kind = Callable[[dict[str, Any], random.Random], tuple[str, str]]
KINDS: tuple[Kind, ...] = (of_a_value,) * 6 + (of_a_key, of_the_text)


def run(folder: Path, *arguments: str) -> str:
    """Run a command in a child and say what became of it; anything but a line is a failure."""
    found = command("train", *arguments, "--runs-dir", str(folder / "runs"), folder=folder / "log")
    if found.code == 0:
        return "ran"
    assert found.code == 2 and one_line(found), f"{found.code}: {found.err[-1500:]}"
    return "refused with a line"


def test_generated_recipes(tmp_path: Path) -> None:
    whole = load_recipe(write_recipe(tmp_path))
    recipe = yaml.safe_load(dump_recipe(whole))
    recipe["trainer"].update(SMALL)
    recipe["evaluation"]["every_rounds"] = 0
    draws, outcomes, failed = random.Random(11), Counter[str](), []
    for number in range(COUNT):
        said, text = draws.choice(KINDS)(recipe, draws)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "recipe.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            outcomes[run(folder, str(folder / "recipe.yaml"))] += 1
        except AssertionError as error:
            failed.append(f"{said}: {error}")
    print(f"{COUNT} generated recipes: {dict(outcomes)}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("number", range(0, len(ROWS), 1 if ALL else 4))
def test_generated_data(tmp_path: Path, number: int) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(ROWS[number])
    content = yaml.safe_load(RECIPE)
    content["trainer"].update(SMALL)
    content["data"] = {"source": "dataset", "path": str(file), "held_out_size": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    run(tmp_path, str(tmp_path / "recipe.yaml"))

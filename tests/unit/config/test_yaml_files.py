"""YAML that is hostile, huge or no file at all ends in one line, soon."""

import os
import time
from pathlib import Path

import pytest

from r2vpo.config.overrides import override
from r2vpo.config.recipe import load_recipe
from r2vpo.config.yaml_files import parse_yaml, read_mapping
from r2vpo.errors import UserError
from tests.unit.training.recipes import MINIMAL

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, r"its aliases \(\*name\) stand for more than 100000 values"),
        ("a: &a [*a]", "stand for more than"),
        ("[" * 5_000, "not valid YAML"),
        ("- " * 5_000 + "x", "nested too deeply"),
        ("a: " + "9" * 5_000, "a value cannot be read"),
        ("a: 2024-13-45", "a value cannot be read: month must be in 1..12"),
        ("a: !!timestamp x", "a value cannot be read"),
        ("a: !!float ''", "a value cannot be read"),
        ("a: !!bool maybe", "a value cannot be read"),
        ("a: [1", "not valid YAML at line 7"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    started = time.monotonic()
    (tmp_path / "r.yaml").write_text(MINIMAL + text if ":" in text[:4] else text)
    with pytest.raises(UserError, match=said) as refused:
        load_recipe(tmp_path / "r.yaml")
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)
    with pytest.raises(UserError, match="--set") as refused:
        override({}, f"name={text}")
    assert len(str(refused.value)) < 500
    assert time.monotonic() - started < 20


def test_aliases_that_people_use_are_read() -> None:
    shared = parse_yaml("a: &rates [1, 2]\nb: *rates\nc: {<<: {x: 1}, y: 2}")
    assert shared == {"a": [1, 2], "b": [1, 2], "c": {"x": 1, "y": 2}}
    assert parse_yaml("") is None


def test_a_value_of_any_size_is_quoted_in_part(path: Path) -> None:
    nested = "[" * 50 + "]" * 50
    for value in (nested, "9" * 4000, "x" * 4000, "{a: " * 50 + "1" + "}" * 50):
        with pytest.raises(UserError) as refused:
            load_recipe(path, [f"trainer.max_steps={value}"])
        assert len(str(refused.value)) < 300


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in (str(tmp_path / "pipe.yaml"), "/dev/zero"):
        with pytest.raises(UserError, match="this is not a regular file"):
            read_mapping(Path(name), "recipe")
    (tmp_path / "long.yaml").write_bytes(b"#" * 10_000_001)
    with pytest.raises(UserError, match="this is a file of 10000001 bytes: give a YAML recipe of at most 10000000"):
        read_mapping(tmp_path / "long.yaml", "recipe")


@pytest.mark.parametrize(
    "override",
    [
        "replay.versions=1000000000",
        f"replay.versions={10**400}",
        "trainer.threads=100000000",
        "seed=4294967296",
        "model.seed=4294967296",
        "rollout.samples_per_prompt=1000000000",
        "rollout.max_new_tokens=1000000000",
        "trainer.max_steps=10000000000000",
        "replay.ratio=1e39",
    ],
)
def test_every_number_has_an_upper_bound(path: Path, override: str) -> None:
    with pytest.raises(UserError, match=r"it must be at most"):
        load_recipe(path, [override])


def test_half_of_a_pair_is_refused_in_one_line(path: Path) -> None:
    with pytest.raises(UserError, match=r"rollout\.stop\.0: input should be a valid string") as refused:
        load_recipe(path, [r'rollout.stop=["\uD83D"]'])
    assert "\n" not in str(refused.value)

"""Completion after `--set`: the keys section by section and the values that are known, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.completion import candidates
from r2vpo.cli.schema import schema_of
from r2vpo.config.known_keys import key_choices, known_keys, without_items
from r2vpo.config.recipe import Recipe
from r2vpo.rewards.registry import REWARDS
from tests.integration.terminal import terminal_of

SETTINGS = {
    ("train", "quickstart", "--set", "d"): ["data.", "dpo.", "dual."],
    ("train", "quickstart", "--set", "dual."): [f"dual.{key}=" for key in ("kind", "eta", "lower", "upper", "value")],
    ("train", "quickstart", "--set", "seed=1", "se"): ["seed="],
    ("train", "quickstart", "--set", "dual.kind=f"): ["dual.kind=fixed"],
    ("plan", "quickstart", "--set", "trainer.bf16_autocast="): [
        f"trainer.bf16_autocast={value}" for value in ("true", "false", "auto")
    ],
    ("train", "--set", "data.mixture."): ["data.mixture.0."],
    ("train", "--set", "data.mixture.12.fam"): ["data.mixture.12.family="],
    ("train", "--set", "model.name=tiny"): ["model.name=tiny/random-llama"],
    ("train", "--set", "reward.parts.1.name="): [f"reward.parts.1.name={name}" for name in REWARDS],
    ("rewards", "check", "habit", "--set", "reward."): ["reward.name=", "reward.parts."],
    ("eval", "x", "--set", "sampling.t"): ["sampling.temperature="],
    ("openrlhf", "--set", "s"): ["step_control.", "seed="],
    ("train", "--set", "nothing.x"): [],
    ("train", "--set", "seed=1", "--acc"): ["--accelerate"],
}


@pytest.mark.parametrize("words", SETTINGS, ids=" ".join)
def test_what_may_follow(words: tuple[str, ...]) -> None:
    assert candidates(build_parser(), words) == SETTINGS[words]


def test_every_key_can_be_reached() -> None:
    def below(typed: str) -> set[str]:
        found = candidates(build_parser(), ["train", "x", "--set", typed])
        return {key for one in found for key in (below(one) if one.endswith(".") else {one.removesuffix("=")})}

    reached = {without_items(key) for key in below("")}
    sections = {key.rpartition(".")[0] for key in known_keys(Recipe)}
    assert reached == set(known_keys(Recipe)) - {key for key in sections if key}


def test_the_values_are_those_of_the_schema() -> None:
    definitions = schema_of("train")["$defs"]
    choices = key_choices(Recipe)
    assert list(choices["dual.kind"]) == definitions["DualOptions"]["properties"]["kind"]["enum"]
    assert list(choices["trainer.optimizer"]) == definitions["TrainerRecipe"]["properties"]["optimizer"]["enum"]


START = {"bash": ["--norc", "-i"], "fish": ["--no-config", "-i"], "zsh": ["-f", "-i"]}
FIRST = {
    "bash": "",
    "bash that does not split words at =": "COMP_WORDBREAKS=${COMP_WORDBREAKS//=}; ",
    "fish": "",
    "zsh": "autoload -Uz compinit; compinit -D; ",
}
"""Shells, and what is typed before the script is read; the first word is the shell's name."""


@pytest.mark.parametrize("kind", FIRST)
def test_a_key_and_its_value_are_typed_by_tabs(kind: str, tmp_path: Path) -> None:
    shell = kind.split()[0]
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} here")
    program = tmp_path / "r2vpo"  # completes as ours, and otherwise prints its arguments
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = completion ]; then exec {sys.executable} -m r2vpo "$@"; fi\n'
        "printf 'given: '; printf '<%s>' \"$@\"; echo\n"
    )
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    with terminal_of([path, *START[shell]], folder=tmp_path, **environment) as terminal:
        terminal.type(f"{FIRST[kind]}r2vpo completion {shell} > script; source ./script; echo rea''dy\n")
        terminal.wait_for("ready")
        # What is typed, and what the line then has at its end.
        for typed, shown in (
            ("r2vpo train quick\t", "quickstart "),
            ("--set du\t", "--set dual."),
            ("k\t", "dual.kind="),
            ("fix\t", "dual.kind=fixed "),
            ("dual.val\t", "dual.value="),
            ("2 model.na\t", "2 model.name="),
            ("tiny\t", "tiny/random-llama "),
            ("--acc\t", "--accelerate "),
            ("fsd\t", "fsdp2 "),
        ):
            terminal.type(typed)
            terminal.wait_for(shown, seconds=30)
        terminal.type("\n")
        terminal.wait_for("<fsdp2>", seconds=30)
    given = terminal.shown.split("given: ")[-1].splitlines()[0].strip()
    settings = "<dual.kind=fixed><dual.value=2><model.name=tiny/random-llama>"
    assert given == f"<train><quickstart><--set>{settings}<--accelerate><fsdp2>"

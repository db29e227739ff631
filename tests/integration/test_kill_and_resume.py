"""A run that is killed, interrupted or made longer ends, bit for bit, as one that was never stopped."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.config.run_directory import open_run
from r2vpo.models import load_model
from r2vpo.replay import snapshot
from tests.integration.cli import (
    BEHAVIOUR,
    TIMES,
    Outcome,
    command,
    records,
    start,
    train,
    wait_for,
    weights,
    write_recipe,
)

STEPS, SAVE_STEPS = 12, 5
# Checkpoints lie inside a round of four steps, and the third round, where a run is stopped, begins at step 9.
# Six problems are one round an epoch: every round shuffles anew.
SETTINGS = ("reward.name=tests.integration.cli:scripted", f"trainer.save_steps={SAVE_STEPS}", "data.train_size=6")
LONG = (*SETTINGS, f"trainer.max_steps={STEPS}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Path:
    return write_recipe(folder)


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, recipe: Path) -> Path:
    done = train(recipe, *LONG, runs=folder / "whole")
    assert (done.code, done.err) == (0, "")
    return done.run


@pytest.fixture
def copy(uninterrupted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(uninterrupted, tmp_path / uninterrupted.name))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of everything inside nested dicts, lists and objects."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{name}.{number}")
    else:
        yield name, value


def loaded(file: Path) -> Any:
    return snapshot.load(file) if file.name.startswith("r2vpo") else torch.load(file, weights_only=False)


def assert_same_numbers(run: Path, other: Path) -> None:
    """All that the last checkpoint holds (weights, optimizer, lambda, replay, random states), and the metrics."""
    mine, theirs = weights(run, STEPS), weights(other, STEPS)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name
    for file in ("optimizer.pt", "r2vpo_state_0.pt", "rng_state.pth", "scheduler.pt"):
        one, two = (dict(leaves(loaded(r / "checkpoints" / f"checkpoint-{STEPS}" / file))) for r in (run, other))
        assert one.keys() == two.keys() and len(one) > 2
        for name, value in one.items():
            if "seconds" in name or "tokens_per_second" in name:
                continue
            same = torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else _equal(value, two[name])
            assert same, (file, name)
    ours, others = (records(r / "metrics.jsonl") for r in (run, other))
    assert [record["step"] for record in ours] == list(range(1, STEPS + 1))
    for record, expected in zip(ours, others, strict=True):
        different = {key for key, value in expected.items() if record[key] != value}
        assert different <= TIMES, (expected["step"], different)


def _equal(value: Any, other: Any) -> bool:
    return bool((value == other).all()) if hasattr(value, "all") else bool(value == other)


def assert_same_result(run: Path, other: Path) -> None:
    one, two = (json.loads((r / "summary.json").read_text()) for r in (run, other))
    for key in (
        "accuracy_before",
        "accuracy_after",
        "rollouts_generated",
        "rollouts_reused",
        "optimizer_steps",
    ):
        assert one[key] == two[key], key
    assert one["seconds_training"] > 0
    evaluations, expected = (records(r / "evaluations.jsonl") for r in (run, other))
    assert [record["step"] for record in evaluations] == [0, 4, 8, 12]
    assert [record["completions"] for record in evaluations] == [record["completions"] for record in expected]


def started_and_held(folder: Path, recipe: Path, hold: Path) -> tuple[Any, Path]:
    """A process that waits in the third round, four steps after its checkpoint, and its run."""
    arguments = ("train", str(recipe), "--set", *LONG)
    process = start(*arguments, folder=folder, **{BEHAVIOUR: f"hold:3:{hold}"})
    wait_for(hold, process)
    (run,) = (folder / "runs").iterdir()
    assert records(run / "metrics.jsonl")[-1]["step"] == 8
    assert open_run(run).latest_checkpoint() == run / "checkpoints" / "checkpoint-5"
    return process, run


def test_the_run_that_is_compared_with_moved_and_reused(uninterrupted: Path) -> None:
    metrics = records(uninterrupted / "metrics.jsonl")
    assert metrics[-1]["rollouts_reused"] == 32
    assert all(age > 0 for age in metrics[-1]["staleness_rows"])
    assert max(record["ratio_variance"] for record in metrics) > 1e-3
    start_weights = load_model("tiny/random-llama").state_dict()
    assert any(not torch.equal(value, start_weights[n]) for n, value in weights(uninterrupted, STEPS).items())


def test_killed_between_checkpoints_and_resumed(uninterrupted: Path, recipe: Path, tmp_path: Path) -> None:
    process, run = started_and_held(tmp_path, recipe, tmp_path / "held")
    second = train(recipe, *LONG, runs=tmp_path / "none", more=("--resume", str(run)))
    assert second.code == 2 and second.err.count("\n") == 1
    assert f"{run}: process {process.pid} on " in second.err and " works here: wait for it" in second.err
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    # What a kill in the middle of a write leaves: a half checkpoint that never got its name, half a line.
    half = run / "checkpoints" / ".staging" / "checkpoint-10"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "los')
    resumed = train(recipe, *LONG, runs=tmp_path / "none", more=("--resume", str(run)))
    assert (resumed.code, resumed.err, resumed.runs) == (0, "", [])
    assert_same_numbers(run, uninterrupted)
    assert_same_result(run, uninterrupted)
    assert not half.parent.exists()


def test_terminated_it_says_how_to_go_on(recipe: Path, tmp_path: Path) -> None:
    process, run = started_and_held(tmp_path, recipe, tmp_path / "held")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    first, last = err.splitlines()
    assert process.returncode == 143 and first == "r2vpo: stopping: saved up to step 5"
    said, _, printed = last.partition(" with: ")
    assert said == "r2vpo: terminated; resume from the last checkpoint"
    assert " -m r2vpo.cli.main train " in printed and run.name in printed


def test_interrupted_it_says_how_to_go_on_and_that_works(uninterrupted: Path, recipe: Path, tmp_path: Path) -> None:
    process, run = started_and_held(tmp_path, recipe, tmp_path / "held")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "\x1b" not in out and "step 8/12" not in err
    first, last = err.splitlines()
    said, _, printed = last.partition(" with: ")
    assert first.startswith("r2vpo: stopping: saved up to step ")
    assert said == "r2vpo: interrupted; resume from the last checkpoint"
    words = shlex.split(printed)
    assert words[:5] == [sys.executable, "-m", "r2vpo.cli.main", "train", str(recipe)]
    assert words[-1] == str(run.relative_to(tmp_path))
    done = command(*words[3:-1], str(run))
    assert (done.code, done.err) == (0, "")
    assert_same_numbers(run, uninterrupted)


def test_made_longer_without_naming_the_recipe(uninterrupted: Path, recipe: Path, tmp_path: Path) -> None:
    short = train(recipe, *SETTINGS, "trainer.max_steps=6", runs=tmp_path)
    assert json.loads((short.run / "summary.json").read_text())["optimizer_steps"] == 6
    longer = command("train", "--set", f"trainer.max_steps={STEPS}", "--resume", str(short.run))
    assert (longer.code, longer.err) == (0, "")
    assert_same_numbers(short.run, uninterrupted)
    assert open_run(short.run).recipe().trainer.max_steps == STEPS
    assert {len(record["completions"]) for record in records(short.run / "evaluations.jsonl")} == {4}


def test_it_goes_on_in_the_precision_that_it_was_started_in(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a machine without units for bfloat16 to one that has them."""
    exact = ("trainer.bf16_autocast=false", "rollout.dtype=model")
    whole = train(recipe, *LONG, *exact, runs=tmp_path / "whole")
    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: False)
    short = train(recipe, *SETTINGS, "trainer.max_steps=6", runs=tmp_path)
    assert "no bfloat16 units" in short.out and "no bfloat16 units" not in whole.out
    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: True)
    longer = train(recipe, *LONG, runs=tmp_path, more=("--resume", str(short.run)))
    assert (longer.code, longer.err) == (0, "")
    assert_same_numbers(short.run, whole.run)
    assert open_run(short.run).recipe() == open_run(whole.run).recipe()


def test_killed_after_its_last_step_it_is_finished_without_another(
    uninterrupted: Path, copy: Path, recipe: Path
) -> None:
    (copy / "summary.json").unlink()
    done = train(recipe, *LONG, runs=copy.parent, more=("--resume", str(copy)))
    assert (done.code, done.err) == (0, "")
    assert_same_numbers(copy, uninterrupted)
    assert_same_result(copy, uninterrupted)
    assert open_run(copy).latest_checkpoint() == copy / "checkpoints" / f"checkpoint-{STEPS}"


def refusal(outcome: Outcome) -> str:
    assert outcome.code == 2 and outcome.runs == []
    assert outcome.err.startswith("r2vpo: error: ") and outcome.err.count("\n") == 1
    return outcome.err


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("objective.delta=0.02", "objective.delta"),
        ("seed=2", "seed"),
        ("data.mixture.0.weight=3", "data.mixture.0.weight"),
        ("replay.versions=0", "replay.versions"),
    ],
)
def test_another_recipe_is_refused(copy: Path, recipe: Path, override: str, key: str) -> None:
    before = (copy / "metrics.jsonl").read_bytes()
    arguments = (*LONG, "trainer.max_steps=20", override)
    line = refusal(train(recipe, *arguments, runs=copy.parent, more=("--resume", str(copy))))
    assert f"another recipe, {key} differ" in line and str(copy) in line
    assert (copy / "metrics.jsonl").read_bytes() == before


def test_a_complete_run_is_refused_with_the_way_to_make_it_longer(copy: Path, recipe: Path) -> None:
    line = refusal(train(recipe, *LONG, runs=copy.parent, more=("--resume", str(copy))))
    assert "has done 12 of trainer.max_steps = 12" in line and "--set trainer.max_steps=24" in line
    assert (copy / "summary.json").exists()


def test_a_run_without_a_checkpoint_is_refused(copy: Path, recipe: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    line = refusal(train(recipe, *LONG, runs=copy.parent, more=("--resume", str(copy))))
    assert "no checkpoint was written yet" in line

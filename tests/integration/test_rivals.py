"""The rivals of step control: a run from its recipe, and resumed from within a round."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import torch

from tests.integration.cli import RECIPE, Outcome, command, records, train, weights, write_recipe

ONE_PASS = ("objective.name=clip", "replay.versions=0", "trainer.save_steps=40", "evaluation.every_rounds=0")
KL = ("step_control.kind=kl", "step_control.target_kl=0.002")
PRODIGY = ("step_control.enabled=false", "trainer.optimizer=prodigy")


def scales(run: Path) -> list[Any]:
    return [record["step_scale"] for record in records(run / "metrics.jsonl")]


def whole_and_resumed(folder: Path, text: str, steps: int, *settings: str) -> list[float]:
    """The scales of a run, which one that was stopped two steps earlier, within a round, ends alike."""

    def done(steps: int) -> Outcome:
        return train(recipe, *ONE_PASS, *settings, f"trainer.max_steps={steps}", runs=folder / str(steps))

    recipe = write_recipe(folder, text)
    whole, stopped = done(steps), done(steps - 2)
    longer = command("train", "--set", f"trainer.max_steps={steps}", "--resume", str(stopped.run))
    assert [(run.code, run.err) for run in (whole, stopped, longer)] == [(0, "")] * 3
    for name, value in weights(whole.run, steps).items():
        assert torch.equal(weights(stopped.run, steps)[name], value), name
    assert scales(stopped.run) == scales(whole.run)
    return scales(whole.run)


def test_the_kl_adaptive_rate_moves_by_its_factor(tmp_path: Path) -> None:
    found = whole_and_resumed(tmp_path, RECIPE, 8, *KL)
    assert found[0] == 1.0 and found[4] == found[3], "nothing is measured at a round's first step"
    changes = {round(after / before, 3) for before, after in itertools.pairwise(found)}
    assert len(changes) > 1 and changes <= {1.0, 1.5, 0.667}


def test_prodigy_finds_a_rate(tmp_path: Path) -> None:
    # The same rows over and over: their gradients agree, which is what it goes by.
    repeated = ("trainer.optimizer_steps_per_round=1", "trainer.passes=16")
    found = whole_and_resumed(tmp_path, RECIPE.replace("  learning_rate: 1e-3\n", ""), 16, *PRODIGY, *repeated)
    assert found[0] == 1e-6 and found[-1] > 1e-5

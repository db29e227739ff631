"""A preference run that is resumed, at a round's start or within one, is the uninterrupted run, bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.errors import UserError
from tests.pairs import ours
from tests.tiny import parameters

NOT_COMPARED = ("runtime", "per_second", "flos", "train_loss")


def run(folder: Path, checkpoint: Path | None = None, **changes: Any) -> Any:
    # Six steps an epoch: rounds of 4, 2, 4, 2. The checkpoints are within the first round, and within the third.
    trainer = ours(folder, max_steps=11, save_strategy="steps", save_steps=3, learning_rate=3e-3, **changes)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return trainer


def same(one: Any, other: Any) -> None:
    found = parameters(other.model)
    for name, value in parameters(one.model).items():
        assert torch.equal(found[name], value), name
    assert other.controls.state_dict() == one.controls.state_dict()
    for expected, logged in zip(one.state.log_history, other.state.log_history, strict=True):
        for name, value in expected.items():
            assert logged[name] == value or any(part in name for part in NOT_COMPARED), name


ACCUMULATED = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
MOVING = {"sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.5}


@pytest.mark.parametrize(("changes", "steps"), [({}, (3, 6)), (ACCUMULATED, (9,)), (MOVING, (3,))])
def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, changes: dict[str, Any], steps: tuple[int, ...]
) -> None:
    whole = run(tmp_path / "a", **changes)
    for step in steps:  # within a round, between two, and within one after a shorter round
        resumed = run(tmp_path / f"b{step}", tmp_path / "a" / f"checkpoint-{step}", **changes)
        assert resumed.state.global_step == 11
        same(whole, resumed)


def test_other_rows_begin_a_new_round(tmp_path: Path) -> None:
    run(tmp_path / "a")
    resumed = run(tmp_path / "b", tmp_path / "a" / "checkpoint-3", ignore_data_skip=True)
    fourth = resumed.state.log_history[3]
    assert fourth["step"] == 4 and fourth["decision_variance"] == 0.0, "the step measured is a round's first"


def test_a_checkpoint_without_the_rounds_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "a")
    checkpoint = tmp_path / "a" / "checkpoint-9"
    assert sorted(path.name for path in (tmp_path / "a").glob("checkpoint-*")) == [
        "checkpoint-11",
        "checkpoint-3",
        "checkpoint-6",
        "checkpoint-9",
    ]
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    (copy / "r2vpo_state_0.pt").unlink()
    with pytest.raises(UserError, match=r"r2vpo_state_0\.pt"):
        run(tmp_path / "b", copy)


def test_a_moving_reference_does_not_continue_from_a_checkpoint_without_it(tmp_path: Path) -> None:
    run(tmp_path / "a")
    with pytest.raises(UserError, match=r"does not have the weights of the reference, .* set sync_ref_model=False"):
        run(tmp_path / "b", tmp_path / "a" / "checkpoint-3", **MOVING)

"""`load_best_model_at_end`: the weights after training are those of the best checkpoint, wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from r2vpo.errors import UserError
from r2vpo.trl.checkpoint import STAGING
from tests.tiny import even_digits, parameters, tiny_dataset, tiny_trainer

BEST = 4


def best_at_step_four(prompts: list[str], completions: list[str], trainer_state: Any, **_: Any) -> list[float]:
    """Even digits, and the same bonus for every row of an evaluation at step 4."""
    bonus = 100.0 if trainer_state.global_step == BEST else 0.0
    return [score + bonus for score in even_digits(prompts, completions)]


def options(**changes: Any) -> dict[str, Any]:
    return (
        dict(
            reward=best_at_step_four,
            eval_dataset=tiny_dataset(4),
            per_device_eval_batch_size=8,
            num_generations_eval=4,
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="steps",
            save_steps=2,
            max_steps=8,
            load_best_model_at_end=True,
            metric_for_best_model="reward",
            greater_is_better=True,
        )
        | changes
    )


def assert_weights(trainer: Any, checkpoint: Path) -> None:
    saved = load_file(checkpoint / "model.safetensors")
    present = parameters(trainer.model)
    assert saved.keys() <= present.keys() and len(saved) > 10
    for name, value in saved.items():
        assert torch.equal(present[name], value), name


def folders(run: Path) -> set[str]:
    return {path.name for path in run.iterdir() if path.is_dir()}


@pytest.mark.parametrize(("limit", "left"), [(None, {2, 4, 6, 8}), (3, {4, 6, 8}), (2, {4, 8}), (1, {4})])
def test_the_weights_after_training_are_the_best_checkpoints(tmp_path: Path, limit: int | None, left: set[int]) -> None:
    trainer = tiny_trainer(tmp_path, **options(save_total_limit=limit))
    trainer.train()
    best = tmp_path / f"checkpoint-{BEST}"
    assert trainer.state.best_model_checkpoint == str(best)
    assert_weights(trainer, best)
    assert folders(tmp_path) == {f"checkpoint-{step}" for step in left}


def test_no_checkpoint_names_the_staging_folder(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, **options()).train()
    named = {}
    for step in (2, 4, 6, 8):
        state = (tmp_path / f"checkpoint-{step}" / "trainer_state.json").read_text()
        assert STAGING not in state
        named[step] = json.loads(state)["best_model_checkpoint"]
    assert named == {2: str(tmp_path / "checkpoint-2")} | dict.fromkeys((4, 6, 8), str(tmp_path / "checkpoint-4"))


@pytest.mark.parametrize("moved", [False, True])
def test_a_resumed_run_knows_the_best_checkpoint(tmp_path: Path, moved: bool) -> None:
    run = tmp_path / "run"
    tiny_trainer(run, **options(max_steps=6, save_total_limit=2)).train()
    if moved:
        run = run.rename(tmp_path / "moved")
    resumed = tiny_trainer(run, **options(save_total_limit=1))
    resumed.train(resume_from_checkpoint=str(run / "checkpoint-6"))
    assert_weights(resumed, run / f"checkpoint-{BEST}")
    assert folders(run) == {f"checkpoint-{BEST}"}


def test_save_strategy_best_keeps_the_best_alone(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options(save_strategy="best", save_total_limit=1))
    trainer.train()
    assert folders(tmp_path) == {f"checkpoint-{BEST}"}
    assert_weights(trainer, tmp_path / f"checkpoint-{BEST}")


def test_weights_alone_are_saved_found_and_not_resumed_from(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, **options(save_only_model=True, save_total_limit=2))
    trainer.train()
    best = tmp_path / f"checkpoint-{BEST}"
    assert_weights(trainer, best)
    assert not list(best.glob("*.pt"))
    again = tiny_trainer(tmp_path / "again", **options())
    with pytest.raises(UserError, match=r"checkpoint-4 holds no state of r2vpo.*save_only_model=True"):
        again.train(resume_from_checkpoint=str(best))


def test_a_push_to_the_hub_reads_the_checkpoint_where_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The upload itself goes to a hub; here it is only noted which folders it is given, which must then exist."""
    trainer = tiny_trainer(tmp_path, max_steps=2, save_strategy="steps", save_steps=2)
    given = []
    monkeypatch.setattr("transformers.Trainer._push_from_checkpoint", lambda self, folder: given.append(Path(folder)))
    trainer.args.push_to_hub = True
    trainer.train()
    assert given == [tmp_path / "checkpoint-2"]
    assert (given[0] / "model.safetensors").is_file()

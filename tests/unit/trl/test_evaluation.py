"""Evaluations inside the trainer: their draws, their weights, and one completion per prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from tests.tiny import tiny_dataset, tiny_model, tiny_trainer


def evaluating(folder: Path, **changes: Any) -> tuple[Any, list[list[str]]]:
    """A trainer over an evaluation set of 16 equal prompts, and the completions of each batch that is scored."""
    batches: list[list[str]] = []

    def noting(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        batches.append(list(completions))
        return [float(len(text)) for text in completions]

    equal = Dataset.from_dict({"prompt": ["1+2="] * 16})
    options = dict(per_device_eval_batch_size=4, num_generations_eval=4) | changes
    return tiny_trainer(folder, reward=noting, eval_dataset=equal, **options), batches


def test_batches_draw_apart_and_evaluations_alike(tmp_path: Path) -> None:
    trainer, batches = evaluating(tmp_path)
    first = trainer.evaluate()
    drawn = list(batches)
    assert len(drawn) == 16
    assert len({tuple(batch) for batch in drawn}) == 16, "equal prompts, yet every batch has random numbers of its own"
    batches.clear()
    second = trainer.evaluate()
    assert batches == drawn
    assert second["eval_reward"] == first["eval_reward"]
    again, other = evaluating(tmp_path / "again")
    again.evaluate()
    assert other == drawn, "the same in another run of the same seed"


def test_the_random_numbers_of_training_are_not_an_evaluations(tmp_path: Path) -> None:
    plain, trained = evaluating(tmp_path / "a", max_steps=4)
    plain.train()
    evaluated, batches = evaluating(
        tmp_path / "b", max_steps=4, eval_on_start=True, eval_strategy="steps", eval_steps=1
    )
    evaluated.train()
    rounds = [batch for batch in batches if len(batch) == 16]
    assert rounds == trained
    pairs = zip(plain.model.parameters(), evaluated.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_one_completion_per_prompt(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path,
        max_steps=2,
        eval_strategy="steps",
        eval_steps=1,
        num_generations_eval=1,
        per_device_eval_batch_size=8,
        eval_dataset=tiny_dataset(8),
    )
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history if "eval_reward" in entry] == [1, 2]


def test_other_weights_at_the_same_step_are_the_ones_evaluated(tmp_path: Path) -> None:
    """A best model that is loaded at the end, or weights that a user loads, change no step count."""
    trainer, batches = evaluating(tmp_path, rollout={"dtype": "bfloat16"}, max_steps=1)
    trainer.evaluate()
    before = list(batches)
    other = tiny_model(seed=7)
    trainer.model.load_state_dict(other.state_dict())
    batches.clear()
    trainer.evaluate()
    assert batches != before
    fresh, expected = evaluating(tmp_path / "fresh", rollout={"dtype": "bfloat16"}, model=other)
    fresh.evaluate()
    assert batches == expected


def test_a_loaded_best_model_is_the_one_sampled_from(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path,
        max_steps=4,
        learning_rate=0.05,
        step_control=False,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=2,
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_reward",
        per_device_eval_batch_size=8,
        rollout={"dtype": "bfloat16"},
        eval_dataset=tiny_dataset(8),
    )
    trainer.train()
    sampled = trainer.sampling_model().state_dict()
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(sampled[name], value.to(torch.bfloat16)), name

"""Objective `clip` without replay is TRL's own GRPO: loss, gradient norm and parameters, step by step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from tests.tiny import (
    even_digits,
    parameters,
    same_rollouts,
    tiny_dataset,
    tiny_model,
    tiny_tokenizer,
    tiny_trainer,
)

STEPS = 5
# Adam divides by the gradient's size: where that is only rounding, its sign is too. A larger epsilon leaves those
# alone.
ADAM_EPSILON = 1e-5


def upstream(folder: Any, model: Any, loss_type: str, **changes: Any) -> GRPOTrainer:
    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=16,
        num_generations=4,
        num_iterations=2,
        max_completion_length=6,
        max_steps=STEPS,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=3,
        adam_epsilon=ADAM_EPSILON,
        loss_type=loss_type,
        **changes,
    )
    return GRPOTrainer(
        model=model,
        reward_funcs=even_digits,
        args=config,
        train_dataset=tiny_dataset(),
        processing_class=tiny_tokenizer(),
        rollout_func=same_rollouts,
    )


def ours(folder: Any, model: Any, aggregation: str, *, clip_low: float = 0.2, **changes: Any) -> Any:
    constant = 6.0 if aggregation == "constant" else None
    own = {"clip_low": clip_low}
    options = dict(
        objective={"name": "clip", "aggregation": aggregation, "constant": constant, "options": own},
        replay=0,
        step_control=False,
        per_device_train_batch_size=16,
        generation_batch_size=16,
        num_iterations=2,
        max_steps=STEPS,
        adam_epsilon=ADAM_EPSILON,
        rollout_func=same_rollouts,
        model=model,
    )
    return tiny_trainer(folder, **(options | changes))


def series(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry and "loss" in entry]


@pytest.mark.parametrize(
    ("loss_type", "aggregation"),
    [("grpo", "sequence_mean"), ("dr_grpo", "constant"), ("dapo", "token_mean")],
)
def test_five_steps_follow_grpo_trainer(tmp_path: Any, loss_type: str, aggregation: str) -> None:
    model = tiny_model()
    reference = upstream(tmp_path / "a", copy.deepcopy(model), loss_type)
    trainer = ours(tmp_path / "b", copy.deepcopy(model), aggregation)
    reference.train()
    trainer.train()
    for name in ("loss", "grad_norm"):
        assert len(series(trainer, name)) == STEPS
        torch.testing.assert_close(series(trainer, name), series(reference, name), rtol=1e-4, atol=1e-5)
    # TRL logs the reward at the steps that generate, every second one here; ours is in every record.
    torch.testing.assert_close(series(trainer, "reward")[::2], series(reference, "reward"), rtol=1e-6, atol=0)
    moved = parameters(model)
    for name, value in parameters(reference.model).items():
        torch.testing.assert_close(parameters(trainer.model)[name], value, rtol=0, atol=1e-5)
        if value.dim() == 2:
            assert (value - moved[name]).abs().max() > 1e-4, f"{name} was not trained"


def test_the_same_trajectory_needs_the_same_clip_range(tmp_path: Any) -> None:
    model = tiny_model()
    narrow = ours(tmp_path / "b", copy.deepcopy(model), "sequence_mean", clip_low=0.001)
    wide = ours(tmp_path / "c", copy.deepcopy(model), "sequence_mean", clip_low=0.2)
    narrow.train()
    wide.train()
    gaps = [(parameters(narrow.model)[n] - v).abs().max() for n, v in parameters(wide.model).items()]
    assert max(gaps) > 1e-4

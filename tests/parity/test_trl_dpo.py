"""Without the constraint the trainer of preferences is TRL's own, in weights and logged numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.pairs import WITHOUT, ours, pair_rows, upstream
from tests.tiny import parameters, tiny_model

CLOCKS = ("runtime", "per_second", "total_flos")
LOSSES = ("sigmoid", "ipo", "bco_pair", "aot", "apo_down", "sft", "sigmoid_norm")


def compare(folder: Any, theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    reference, trainer = upstream(folder / "a", **theirs), ours(folder / "b", **WITHOUT, **mine)
    start = parameters(reference.model)
    reference.train()
    trainer.train()
    found, moved = parameters(trainer.model), 0.0
    for name, value in parameters(reference.model).items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
        moved = max(moved, float((value - start[name]).abs().max()))
    assert moved > 1e-4, "nothing was trained"
    for expected, logged in zip(reference.state.log_history, trainer.state.log_history, strict=True):
        for name, value in expected.items():
            if not any(clock in name for clock in CLOCKS):
                assert logged[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("loss_type", LOSSES)
def test_six_steps_follow_dpo_trainer(tmp_path: Any, loss_type: str) -> None:
    compare(tmp_path, {"loss_type": loss_type}, {"loss_type": loss_type})


def test_several_losses_weighting_and_length_options(tmp_path: Any) -> None:
    changes = {"loss_type": ["sigmoid", "ipo"], "loss_weights": [0.8, 0.3], "ld_alpha": 0.4, "use_weighting": True}
    compare(tmp_path, dict(changes), dict(changes))


def test_the_link_chi_square_is_the_alpha_divergence_2(tmp_path: Any) -> None:
    divergence = {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 2.0}
    compare(tmp_path, divergence, {"link": "chi_square"})


@pytest.mark.parametrize(
    "changes",
    [
        {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 2},
        {"precompute_ref_log_probs": True},
        {"sync_ref_model": True, "ref_model_sync_steps": 2},
        {"gradient_checkpointing": True},
        {"per_device_train_batch_size": 5},  # the last micro-batch of an epoch has fewer pairs
        {"eval_strategy": "steps", "eval_steps": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_ways_of_training(tmp_path: Any, changes: dict[str, Any]) -> None:
    if "eval_steps" in changes:
        changes = changes | {"eval_dataset": pair_rows(6)}
    compare(tmp_path, dict(changes), dict(changes))


def test_adapters(tmp_path: Any) -> None:
    def changes() -> dict[str, Any]:
        lora = LoraConfig(r=4, target_modules="all-linear", exclude_modules=["lm_head"], task_type="CAUSAL_LM")
        return {"peft_config": lora, "model": tiny_model()}

    compare(tmp_path, changes(), changes())


def test_adapters_that_were_trained_before(tmp_path: Any) -> None:
    """TRL copies them into an adapter "ref", which is the reference."""

    def changes() -> dict[str, Any]:
        torch.manual_seed(1)
        lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        return {"model": get_peft_model(tiny_model(), lora), "ref_model": None}

    compare(tmp_path, changes(), changes())


def test_the_constraint_changes_the_trajectory(tmp_path: Any) -> None:
    """The comparisons above can fail: with a brake alone the weights differ."""
    free = ours(tmp_path / "a", **WITHOUT)
    held = ours(tmp_path / "b", dual={"kind": "fixed", "value": 20.0}, step_control=False)
    free.train()
    held.train()
    gaps = [(parameters(held.model)[name] - value).abs().max() for name, value in parameters(free.model).items()]
    assert max(gaps) > 1e-4

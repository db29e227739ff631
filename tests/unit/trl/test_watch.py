"""Runs whose numbers mean nothing: noisy log-probs, no finite gradient, no signal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import GPT2Config, GPT2LMHeadModel

from r2vpo.errors import UserError
from r2vpo.trl.watch import NOISE_BOUND, NON_FINITE_IN_A_ROW, RunWatch
from tests.tiny import VOCABULARY, parameters, tiny_config, tiny_model, tiny_trainer


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def gpt2(dropout: float) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(VOCABULARY),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return GPT2LMHeadModel(config)


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}, {"shared_prefix": False}])
def test_a_model_with_dropout_trains_as_without(tmp_path: Path, options: dict[str, Any]) -> None:
    runs = []
    for dropout in (0.1, 0.0):
        trainer = tiny_trainer(tmp_path / str(dropout), model=gpt2(dropout), max_steps=6, **options)
        trainer.train()
        runs.append(trainer)
    assert logged(runs[0], "ratio_variance")[0::2] == [0.0] * 3, "at each round's first step"
    assert min(logged(runs[0], "ratio_variance")[1::2]) > 0
    for name, value in parameters(runs[1].model).items():
        assert torch.equal(parameters(runs[0].model)[name], value), name


def test_dropout_of_adapters_is_off_and_said(tmp_path: Path) -> None:
    lora = LoraConfig(
        r=4, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
    )
    with pytest.warns(UserWarning, match=r"lora_dropout=0\.1 is off.*set lora_dropout=0"):
        trainer = tiny_trainer(tmp_path, peft_config=lora, max_steps=4)
    trainer.train()
    assert logged(trainer, "ratio_variance")[0::2] == [0.0, 0.0]


def test_dropout_cannot_be_turned_on(tmp_path: Path) -> None:
    assert tiny_config(tmp_path).disable_dropout
    with pytest.raises(ValueError, match=r"disable_dropout=False is not supported.*new mask"):
        tiny_config(tmp_path, disable_dropout=False)


class Noisy(torch.nn.Module):
    """A layer that draws whatever its mode, as a model's own code may."""

    def __init__(self, inner: torch.nn.Module, size: float) -> None:
        super().__init__()
        self.inner, self.size = inner, size

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.inner(hidden) + self.size * torch.randn_like(hidden[..., :1])


def test_a_model_that_is_noisy_all_the_same_ends_the_run(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path)
    trainer.model.model.layers[0].mlp.down_proj = Noisy(trainer.model.model.layers[0].mlp.down_proj, 0.5)
    with pytest.raises(UserError, match=r"ratio variance is .* at a round's first optimizer step.*dropout.*bfloat16"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_noise_within_rounding_passes() -> None:
    watch = RunWatch()
    for variance in (0.0, NOISE_BOUND, float("nan"), float("inf")):
        watch.first_step(variance)
    with pytest.raises(UserError):
        watch.first_step(1.01 * NOISE_BOUND)


def test_a_run_whose_gradients_are_all_not_finite_ends_with_a_line(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=2, replay=0)
    loss = trainer.learner.objective
    trainer.learner.objective = lambda **inputs: (lambda output: replace(output, loss=output.loss * torch.inf))(
        loss(**inputs)
    )
    with pytest.raises(UserError, match="all 2 optimizer steps had a non-finite gradient"):
        trainer.train()


def test_steps_left_out_in_a_row_end_a_run_before_its_end() -> None:
    watch = RunWatch()
    for _ in range(NON_FINITE_IN_A_ROW - 1):
        watch.step(finite=False)
    watch.step(finite=True)
    watch.end()
    for _ in range(NON_FINITE_IN_A_ROW - 1):
        watch.step(finite=False)
    with pytest.raises(UserError, match=f"the last {NON_FINITE_IN_A_ROW} optimizer steps.*lower learning rate"):
        watch.step(finite=False)


def test_a_diverged_rate_does_not_end_in_silence(tmp_path: Path) -> None:
    """Weights that overflow give logits that are not finite: a line, whichever part meets them first."""
    with pytest.raises((UserError, ValueError), match="not finite"):
        tiny_trainer(
            tmp_path, model=tiny_model(), max_steps=40, learning_rate=1e30, step_control=False, replay=0
        ).train()


@pytest.mark.parametrize("sampler", ["trl", "shared_prefix"])
def test_weights_that_have_diverged_are_said_by_each_sampler(tmp_path: Path, sampler: str) -> None:
    trainer = tiny_trainer(tmp_path, rollout=sampler)
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"not finite.*the weights have diverged, go back to a checkpoint"):
        trainer.train()

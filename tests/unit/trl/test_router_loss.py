"""Mixtures of experts: the router's load-balancing loss, which TRL turns on by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GptOssConfig,
    MistralConfig,
    MixtralConfig,
    PreTrainedConfig,
    Qwen3MoeConfig,
)

from r2vpo.learner import MicroBatch
from r2vpo.replay.group import each_row
from tests.tiny import VOCABULARY, tiny_trainer

COEFFICIENT, EXPERTS, CHOSEN = 0.7, 4, 2
SIZES = dict(
    vocab_size=len(VOCABULARY),
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    pad_token_id=0,
    eos_token_id=1,
    bos_token_id=None,
    initializer_range=0.2,
)


def moe(**changes: Any) -> Any:
    torch.manual_seed(0)
    experts = dict(num_local_experts=EXPERTS, num_experts_per_tok=CHOSEN, router_aux_loss_coef=COEFFICIENT)
    return AutoModelForCausalLM.from_config(MixtralConfig(**(SIZES | experts | changes)))


def by_hand(model: Any, micro: MicroBatch) -> Tensor:
    """`E sum_k sum_e f_ke P_e` over every token of every layer, each row alone, in float64.

    f: the share of tokens whose choice k is expert e; P: the mean probability of e.
    """
    probabilities = []
    for prompt, row in zip(each_row(micro.groups, lambda group: group.prompt_ids), micro.rollouts, strict=True):
        ids = torch.cat([prompt, row.response_ids])[None]
        layers = model(input_ids=ids, output_router_logits=True).router_logits
        probabilities += [logits.double().softmax(-1) for logits in layers]
    everything = torch.cat(probabilities)
    chosen = everything.topk(CHOSEN, dim=-1).indices
    total = torch.zeros((), dtype=torch.float64)
    for expert in range(EXPERTS):
        for choice in range(CHOSEN):
            total = total + (chosen[:, choice] == expert).double().mean() * everything[:, expert].mean()
    return EXPERTS * total


@pytest.mark.parametrize("accumulation", [1, 2])
def test_value_and_gradient_are_the_hand_computed(tmp_path: Path, accumulation: int) -> None:
    """A mean over the micro-batches of a step: coefficient x loss / micro-batches on each."""
    model = moe()
    with pytest.warns(UserWarning, match=r"router_aux_loss_coef=0\.0 \(in a recipe .*\) leaves it out"):
        trainer = tiny_trainer(tmp_path, model=model, gradient_accumulation_steps=accumulation)
    seen: list[tuple[MicroBatch, float, dict[str, Tensor]]] = []
    compute = trainer._compute_loss

    def spy(wrapped: Any, micro: MicroBatch) -> Tensor:
        if not seen:
            names = [name for name, _ in model.named_parameters()]
            losses = []
            for enabled in (True, False):
                trainer.aux_loss_enabled = enabled
                loss = compute(wrapped, micro)
                losses.append((loss, torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)))
            trainer.aux_loss_enabled = True
            (with_it, gradients), (without, plain) = losses
            difference = {
                name: a - (0 if b is None else b)
                for name, a, b in zip(names, gradients, plain, strict=True)
                if a is not None
            }
            seen.append((micro, float((with_it - without).detach()), difference))
            expected = COEFFICIENT * by_hand(model, micro) / accumulation
            wanted = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
            assert seen[0][1] == pytest.approx(float(expected), rel=1e-5)
            for name, gradient in zip(names, wanted, strict=True):
                if gradient is not None:
                    torch.testing.assert_close(difference[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
        return compute(wrapped, micro)

    trainer._compute_loss = spy
    trainer.train()
    assert seen and seen[0][1] > 0.1
    assert any(float(value.abs().max()) > 1e-3 for name, value in seen[0][2].items() if "gate" in name)
    logs = [entry for entry in trainer.state.log_history if "aux_loss" in entry]
    assert len(logs) == 4 and all(entry["aux_loss"] > 0.5 for entry in logs)
    assert logs[0]["ratio_variance"] == pytest.approx(0.0, abs=1e-9)


def test_without_it_prompts_are_shared(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, model=moe(), router_aux_loss_coef=0.0, max_steps=2)
    assert trainer._shares_prefix
    trainer.train()
    assert not any("aux_loss" in entry for entry in trainer.state.log_history)


def test_an_evaluation_logs_it(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, model=moe(), max_steps=2)
    found = trainer.evaluate(trainer.train_dataset.select(range(4)))
    assert found["eval_aux_loss"] > 0.5


MODELS: dict[str, PreTrainedConfig] = {
    "qwen3_moe": Qwen3MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8),
    "gpt_oss": GptOssConfig(
        **SIZES, num_local_experts=4, num_experts_per_tok=2, head_dim=8, sliding_window=4, rope_scaling=None
    ),
    "mistral": MistralConfig(**SIZES, sliding_window=4),
    "gemma2": Gemma2Config(**SIZES, head_dim=8, sliding_window=4),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_routers_and_windows_train_with_default_options(tmp_path: Path, name: str) -> None:
    """V is 0 at a round's first step: sampler and trainer, or two evaluations, agree."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MODELS[name])
    before = model.lm_head.weight.detach().clone()
    trainer = tiny_trainer(tmp_path, model=model)
    trainer.train()
    assert not torch.equal(before, model.lm_head.weight)
    log = [entry for entry in trainer.state.log_history if "ratio_variance" in entry]
    assert [log[step]["ratio_variance"] for step in (0, 2)] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert log[1]["ratio_variance"] > 0

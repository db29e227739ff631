"""The log-probs that the trainer computes are those of the model, whatever the model is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from r2vpo.replay import Rollout
from r2vpo.trl.rows import MicroBatch, collate
from tests.tiny import VOCABULARY, tiny_trainer

TEMPERATURE = 0.8


def sharp_model(config, *, seed: int = 0):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model.eval()


def gpt2():
    ids = dict(bos_token_id=None, eos_token_id=1, pad_token_id=0)
    return sharp_model(GPT2Config(vocab_size=len(VOCABULARY), n_embd=32, n_layer=2, n_head=4, n_positions=64, **ids))


def micro_batch() -> MicroBatch:
    """Prompts of three lengths, responses of four."""
    rollouts = []
    for prompt, response in (([3, 5], [4, 1]), ([6, 7, 8, 9, 2, 5], [2, 3, 9]), ([8, 4, 4], [5]), ([3, 5], [7] * 5)):
        size = len(response)
        rollouts.append(
            Rollout(
                prompt_ids=torch.tensor(prompt),
                response_ids=torch.tensor(response),
                response_mask=torch.ones(size, dtype=torch.bool),
                rollout_log_probs=torch.full((size,), -1.0),
                advantage=1.0,
                reward=1.0,
                group=len(prompt),
                policy_version=0,
            )
        )
    return collate(rollouts, version=0, pad_token_id=0, device=torch.device("cpu"))


@torch.no_grad()
def alone(model, micro: MicroBatch) -> torch.Tensor:
    """Each row by itself: no padding, no mask, no cache."""
    expected = torch.zeros(micro.response_ids.shape)
    for row, rollout in enumerate(micro.rollouts):
        ids = torch.cat([rollout.prompt_ids, rollout.response_ids])
        logits = model(input_ids=ids[None]).logits[0, len(rollout.prompt_ids) - 1 : -1] / TEMPERATURE
        chosen = logits.log_softmax(-1).gather(-1, rollout.response_ids[:, None]).squeeze(-1)
        expected[row, : len(chosen)] = chosen
    return expected


@pytest.mark.parametrize("changes", [{"shared_prefix": False}, {"gradient_checkpointing": True}, {}], ids=str)
def test_absolute_positions_are_right_on_every_forward(tmp_path: Path, changes: dict) -> None:
    """Under left padding without position ids a sharp GPT-2 is 3 nats off."""
    model = gpt2()
    trainer = tiny_trainer(tmp_path, model=model, temperature=TEMPERATURE, **changes)
    micro = micro_batch()
    expected = alone(model, micro)
    model.eval()
    found = trainer._forward(trainer.model, micro)
    torch.testing.assert_close(found.log_probs.detach(), expected, rtol=1e-5, atol=1e-5)
    assert (found.log_probs[micro.attention_mask] < 0).all()
    assert (found.entropy[micro.attention_mask] > 0).all()

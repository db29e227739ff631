"""Our trainer with vLLM's engine in its own process: `use_vllm=True, vllm_mode="colocate"`."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM

from r2vpo.replay.group import each_row, rows_of
from tests.frameworks.vllm.served import STOP, apart, kept, log_probs, make_trainer, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The output layer is the embedding, as in most small models: one weight that the engine uses in two ways."""
    return save(tmp_path_factory.mktemp("colocate") / "model", tie_word_embeddings=True)


@pytest.fixture(scope="module")
def trained(folder):
    trainer = make_trainer(
        folder, folder.parent / "run", vllm_mode="colocate", vllm_gpu_memory_utilization=0.1, vllm_max_model_length=32
    )
    trainer.train()
    return trainer


def test_it_trains_on_fresh_and_stale_rows(trained):
    steps = [entry for entry in trained.state.log_history if "ratio_variance" in entry]
    assert len(steps) == 6 and steps[-1]["rollouts_generated"] == 48 and steps[-1]["rollouts_reused"] > 0
    assert steps[-1]["ratio_variance"] > 0


def test_the_engine_samples_with_the_weights_of_now(trained, folder):
    """Apart from the trainer by the engine's precision (bfloat16), from the first weights by what was learnt."""
    trained.vllm_generation.sync_weights()
    policy = trained.accelerator.unwrap_model(trained.model).eval()
    now, before = apart(trained, policy), apart(trained, LlamaForCausalLM.from_pretrained(folder))
    assert 0 < now < before / 10


def test_stop_tokens_reach_the_engine(trained):
    rows = rows_of(kept(trained))
    ends = [row.response_ids[row.response_mask].tolist() for row in rows]
    assert any(ids[-1] == STOP for ids in ends)
    assert not any(STOP in ids[:-1] or 1 in ids[:-1] for ids in ends)


def test_the_mismatch_of_the_engines_is_logged_and_weighted(trained, folder):
    """In the first round the policy is the sampler but for the engine."""
    first = trained.state.log_history[0]
    groups = [group for group in kept(trained) if group.policy_version == 0]
    rows, prompts = rows_of(groups), each_row(groups, lambda group: group.prompt_ids.tolist())
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    policy = log_probs(model, prompts, [row.response_ids.tolist() for row in rows])
    sampler = [row.rollout_log_probs for row in rows]
    weights = (torch.cat(policy) - torch.cat(sampler)).exp().clamp(max=2.0)
    assert 1e-4 < (weights - 1).abs().mean() < 0.1
    assert first["mean_stale_weight"] == pytest.approx(1.0, abs=0.05) and first["mean_stale_weight"] != 1.0

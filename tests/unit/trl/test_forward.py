"""The log-probs that the trainer computes are those of the model, whatever the model is."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GptOssConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    NemotronConfig,
    RobertaConfig,
)

from r2vpo.errors import UserError
from r2vpo.learner.micro_batch import MicroBatch, collate
from r2vpo.replay import Group, Rollout
from r2vpo.replay.group import each_row, rows_of
from r2vpo.trl import R2VPOTrainer
from tests.tiny import (
    VOCABULARY,
    even_digits,
    tiny_config,
    tiny_dataset,
    tiny_model,
    tiny_tokenizer,
    tiny_trainer,
)

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
    shapes = (([3, 5], [4, 1]), ([6, 7, 8, 9, 2, 5], [2, 3, 9]), ([8, 4, 4], [5]), ([3, 5], [7] * 5))
    groups = []
    for number, (prompt, response) in enumerate(shapes):
        size = len(response)
        mask, log_probs = torch.ones(size, dtype=torch.bool), torch.full((size,), -1.0)
        rows = [Rollout(torch.tensor(response), mask, log_probs, advantage=1.0, reward=1.0)]
        groups.append(Group(number, 0, torch.tensor(prompt), rows))
    return collate(groups, version=0, pad_token_id=0, device=torch.device("cpu"))


@torch.no_grad()
def alone(model, micro: MicroBatch) -> torch.Tensor:
    """Each row by itself: no padding, no mask, no cache."""
    expected = torch.zeros(micro.response_mask.shape)
    prompts = each_row(micro.groups, lambda group: group.prompt_ids)
    for row, (prompt, rollout) in enumerate(zip(prompts, micro.rollouts, strict=True)):
        ids = torch.cat([prompt, rollout.response_ids])
        logits = model(input_ids=ids[None]).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
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
    assert (found.log_probs[micro.batch.response_mask] < 0).all()
    assert (found.entropy[micro.batch.response_mask] > 0).all()


SIZES = dict(vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
IDS = dict(bos_token_id=None, eos_token_id=1, pad_token_id=0)
GATED = dict(**SIZES, **IDS, intermediate_size=48, num_key_value_heads=2)
FALLING_BACK = [
    Cohere2Config(**GATED, sliding_window=4),
    Gemma2Config(**GATED, head_dim=8, sliding_window=4),
    MistralConfig(**GATED, sliding_window=4),
    GptOssConfig(**GATED, head_dim=8, num_local_experts=4, sliding_window=4),
    MambaConfig(vocab_size=len(VOCABULARY), hidden_size=32, num_hidden_layers=2, state_size=4, **IDS),
]
SHARING = [NemotronConfig(**GATED), FalconConfig(**SIZES, **IDS, alibi=True)]


@pytest.mark.parametrize("config", [*FALLING_BACK, *SHARING], ids=lambda config: config.model_type)
def test_every_model_trains_with_the_default_options_on_what_it_sampled(
    tmp_path: Path, config, recwarn: pytest.WarningsRecorder
) -> None:
    """The sampler's log-probs are the trainer's, the ratio is 1 at a round's first step, and the weights move."""
    model = sharp_model(config)
    changes = {"router_aux_loss_coef": 0.0} if config.model_type == "gpt_oss" else {}
    trainer = tiny_trainer(tmp_path, model=model, temperature=TEMPERATURE, **changes)
    notes = [str(one.message) for one in recwarn if "cannot be used" in str(one.message)]
    assert bool(notes) == (config in FALLING_BACK)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fresh, add = [], trainer.replay.add
    # Rows are evaluated again as they get older: what they were at first is compared here.
    trainer.replay.add = lambda groups, **options: (
        fresh.extend((row.response_ids, row.rollout_log_probs, row.old_log_probs) for row in rows_of(groups)),
        add(groups, **options),
    )
    trainer.train()
    for _, sampled, trained in fresh:
        torch.testing.assert_close(sampled, trained, rtol=1e-5, atol=1e-4)
    assert len({tuple(ids.tolist()) for ids, _, _ in fresh}) > 8
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_lengths_that_are_not_known_before_are_refused_where_every_token_depends_on_them(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    build = functools.partial(
        R2VPOTrainer,
        reward_funcs=even_digits,
        args=tiny_config(tmp_path),
        train_dataset=tiny_dataset().to_iterable_dataset(),
        processing_class=tiny_tokenizer(),
    )
    with pytest.raises(UserError, match=r"dynamic rope.*train on a dataset that has a length"):
        build(tiny_model(rope_parameters=rope))
    build(tiny_model())


def test_learned_prompts_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learns prompts.*train it with LoRA"):
        tiny_trainer(tmp_path, peft_config=PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))


@pytest.mark.parametrize("sampler", ["shared_prefix", "trl"])
def test_a_model_that_generates_from_another_distribution_is_refused(tmp_path: Path, sampler: str) -> None:
    """RoBERTa counts positions from its padding's id on, and `generate` gives it positions from 0 on."""
    config = RobertaConfig(**SIZES, intermediate_size=48, is_decoder=True, bos_token_id=None, eos_token_id=1)
    with pytest.raises(UserError, match="RobertaForCausalLM: the model cannot be sampled from"):
        tiny_trainer(tmp_path, model=sharp_model(config), rollout=sampler)


def test_a_copy_of_the_trained_model_computes_with_its_own_weights(tmp_path: Path) -> None:
    """TRL puts a forward into the model that is bound to it; a copy that sampled with it would not be the copy."""
    trainer = tiny_trainer(tmp_path, model=gpt2(), rollout={"dtype": "bfloat16"})
    copied = trainer.sampling_model()
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert float(copied(input_ids=torch.tensor([[3, 4]])).logits.float().abs().max()) == 0


def test_a_forward_of_the_models_own_stays(tmp_path: Path) -> None:
    model, calls = tiny_model(), []
    former = model.forward
    model.forward = lambda *args, **kwargs: calls.append(1) or former(*args, **kwargs)
    trainer = tiny_trainer(tmp_path, model=model, shared_prefix=False)
    calls.clear()
    trainer.model(prefix_batch=micro_batch().batch, shared=False)
    assert calls == [1]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("peft", [None, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])])
def test_a_float32_output_layer_is_one_on_every_path(tmp_path: Path, tied: bool, dtype: torch.dtype, peft) -> None:
    model = sharp_model(LlamaConfig(**GATED, tie_word_embeddings=tied)).to(dtype)
    trainer = tiny_trainer(tmp_path, model=model, temperature=TEMPERATURE, cast_lm_head_to_fp32=True, peft_config=peft)
    assert trainer.args.cast_lm_head_to_fp32
    assert trainer._shares_prefix
    assert model.lm_head.weight.dtype == torch.float32
    micro = micro_batch()
    with torch.no_grad():
        shared = trainer._forward(trainer.model, micro)
        trainer._shares_prefix = False
        ordinary = trainer._forward(trainer.model, micro)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=torch.tensor([[3, 5]])).last_hidden_state
            lowered = model.lm_head(hidden)
        assert lowered.dtype == torch.float32
        exact = torch.nn.functional.linear(hidden.float(), model.lm_head.weight)
        torch.testing.assert_close(lowered, exact, rtol=0, atol=0)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(shared.log_probs, ordinary.log_probs, rtol=0, atol=tolerance)
    trainer.train()


def test_a_float32_output_layer_is_used_by_the_shared_forward_under_autocast(tmp_path: Path) -> None:
    """With the layer lowered to bfloat16 the log-probs differ by some hundredths of a nat."""
    model = sharp_model(LlamaConfig(**GATED))
    tiny_trainer(tmp_path, model=model, cast_lm_head_to_fp32=True)
    batch = micro_batch().batch
    seen = []
    model.model.register_forward_hook(lambda module, args, output: seen.append(output.last_hidden_state))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = model(prefix_batch=batch, temperature=1.0).log_probs[0, 0]
    last = batch.layout.prompts.longest - 1
    logits = torch.nn.functional.linear(seen[0][0, last].float(), model.lm_head.weight)
    expected = logits.log_softmax(-1)[batch.response_ids[0, 0]]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_an_output_layer_that_is_saved_with_adapters_is_not_made_float32(tmp_path: Path) -> None:
    adapters = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], modules_to_save=["lm_head"])
    with pytest.raises(UserError, match="cast_lm_head_to_fp32: the output layer is a ModulesToSaveWrapper"):
        tiny_trainer(tmp_path, peft_config=adapters, cast_lm_head_to_fp32=True)


def test_a_float32_output_layer_works_for_a_model_that_calls_it_something_else(tmp_path: Path) -> None:
    model = gpt2().to(torch.bfloat16)
    trainer = tiny_trainer(tmp_path, model=model, cast_lm_head_to_fp32=True, max_steps=2)
    trainer.train()
    assert model.transformer.wte(torch.tensor([3])).dtype == torch.bfloat16
    assert model(input_ids=torch.tensor([[3, 5]])).logits.dtype == torch.float32


def test_the_ordinary_forward_reads_the_output_layer_in_chunks_in_place_of_a_whole_batch(
    tmp_path: Path,
) -> None:
    trainer = tiny_trainer(tmp_path, model=gpt2(), shared_prefix=False, temperature=TEMPERATURE)
    micro, model = micro_batch(), trainer.model.eval()
    expected, called = alone(model, micro), []
    model.lm_head.register_forward_hook(lambda *args: called.append(1))
    found = trainer._forward(model, micro)
    assert called == []
    torch.testing.assert_close(found.log_probs.detach(), expected, rtol=1e-5, atol=1e-5)
    gradient = torch.autograd.grad(found.log_probs.sum(), model.lm_head.weight)[0]
    whole = model(prefix_batch=micro.batch, shared=False, temperature=TEMPERATURE)
    assert called == [1]
    torch.testing.assert_close(found.entropy, whole.entropy, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(whole.log_probs.sum(), model.lm_head.weight)[0], rtol=1e-4, atol=1e-4
    )

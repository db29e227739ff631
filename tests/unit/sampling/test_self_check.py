"""What the self-check finds right, falls back from, and refuses."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import (
    BertConfig,
    Cohere2Config,
    CTRLConfig,
    ElectraConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GptOssConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    NemotronConfig,
    OpenAIGPTConfig,
    RobertaConfig,
)

from r2vpo.core.log_probs.shared_prefix import cache_argument
from r2vpo.sampling import check_model
from r2vpo.sampling.probe import Alone, Probe
from r2vpo.sampling.self_check import BY_LENGTH, CHUNKED, GENERATE, ORDINARY, SHARED, SHARED_SAMPLER, SHARED_SHORT
from tests.unit.core.log_probs.small_models import VOCABULARY, small_model
from tests.unit.sampling.checked import DECODER, GATED, GPT, SIZES, paths, sharpened


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(**GPT),
        CTRLConfig(**GPT, dff=48),
        NemotronConfig(**GATED),
        FalconConfig(**SIZES),
        FalconConfig(**SIZES, alibi=True),
        "llama",
        "qwen2",
    ],
    ids=lambda config: config if isinstance(config, str) else config.model_type,
)
def test_a_model_whose_prompts_can_be_shared_uses_the_fast_paths(config):
    model = small_model(config) if isinstance(config, str) else sharpened(config)
    check = check_model(model, longest=60, everything=True)
    assert check.shares_prompts
    assert check.sampler == SHARED_SAMPLER
    assert check.refusal is None
    assert check.notes == ()
    assert list(paths(check)) == [ORDINARY, SHARED, SHARED_SHORT, CHUNKED, SHARED_SAMPLER, GENERATE, BY_LENGTH]
    assert all(path.right and path.difference < 1e-5 for path in check.paths), check.paths
    assert check.chunks


@pytest.mark.parametrize(
    ("config", "shared", "sampler", "reason"),
    [
        (BertConfig(**DECODER), False, GENERATE, "inside another module"),
        (ElectraConfig(**DECODER, embedding_size=32), False, GENERATE, "other log-probabilities"),
        (OpenAIGPTConfig(**GPT), False, GENERATE, "takes no past_key_values"),
        (MistralConfig(**GATED, sliding_window=16), False, GENERATE, "sliding window of 16"),
        (MistralConfig(**GATED, sliding_window=64), True, SHARED_SAMPLER, ""),
        (GptOssConfig(**GATED, head_dim=8, num_local_experts=4, sliding_window=32), False, GENERATE, "sliding window"),
        (Cohere2Config(**GATED, sliding_window=16), False, GENERATE, "sliding window"),
        (Gemma2Config(**GATED, head_dim=8, sliding_window=64), False, GENERATE, "final_logit_softcapping"),
        (
            GPTNeoConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                num_layers=2,
                num_heads=4,
                intermediate_size=48,
                attention_types=[[["global", "local"], 1]],
                window_size=16,
            ),
            False,
            GENERATE,
            "local attention over 16 tokens",
        ),
        (
            MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4),
            False,
            GENERATE,
            "linear_attention",
        ),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_a_model_whose_prompts_cannot_be_shared_falls_back_with_a_note(config, shared, sampler, reason):
    check = check_model(sharpened(config), longest=60)
    assert check.refusal is None
    assert paths(check)[ORDINARY].right
    assert paths(check)[sampler].difference < 2e-5
    assert (check.shares_prompts, check.sampler) == (shared, sampler)
    assert bool(check.notes) == (not shared or sampler != SHARED_SAMPLER)
    assert all(reason in note and "\n" not in note for note in check.notes)


def test_what_a_class_does_behind_its_output_layer_is_found_without_a_rule():
    class Scaled(LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = 1.3 * output.logits
            return output

    check = check_model(Scaled(small_model().config), longest=60)
    assert not check.shares_prompts
    assert check.sampler == GENERATE
    assert check.refusal is None
    assert paths(check)[ORDINARY].difference < 1e-5
    assert paths(check)[SHARED].difference > 1e-3
    assert paths(check)[CHUNKED].difference > 1e-3
    assert not check.chunks
    assert "other log-probabilities" in paths(check)[SHARED_SAMPLER].reason


def test_rows_of_one_length_are_generated_together_where_padding_is_seen():
    class Counting(GPT2LMHeadModel):
        """Counts positions by index, padding included."""

        def forward(self, *args, position_ids=None, **kwargs):
            return super().forward(*args, **kwargs)

        def get_decoder(self):
            raise ValueError("it has none")

    model = Counting(GPT2Config(**GPT, initializer_range=0.2))
    check = check_model(model, longest=60)
    assert not paths(check)[GENERATE].right
    assert paths(check)[BY_LENGTH].right
    assert check.sampler == BY_LENGTH
    assert paths(check)[ORDINARY].right


def test_a_model_that_looks_ahead_is_refused():
    check = check_model(sharpened(BertConfig(**SIZES, intermediate_size=48)))
    assert check.sampler is None
    assert "not causal" in check.refusal


def test_a_model_that_no_sampler_is_right_for_is_refused_with_every_reason():
    check = check_model(sharpened(RobertaConfig(**DECODER)))
    assert "cannot be sampled from" in check.refusal
    assert "\n" not in check.refusal
    assert check_model(sharpened(RobertaConfig(**DECODER)), samplers=()).refusal is None


def test_damaged_weights_are_refused():
    model = small_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    assert "not numbers: its weights are damaged" in check_model(model).refusal


def test_tokens_without_a_probability_are_not_called_damaged_weights():
    model = small_model()
    model.lm_head.register_forward_hook(
        lambda module, args, logits: logits.index_fill(-1, torch.arange(50), -torch.inf)
    )
    assert check_model(model).refusal.endswith("no probability at all (a logit of -inf)")


@pytest.mark.parametrize(
    "config",
    [
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
        PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=2),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_learned_prompts_are_refused(config):
    assert "learns prompts" in check_model(get_peft_model(small_model(), config)).refusal


def test_adapters_are_part_of_the_model():
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    check = check_model(get_peft_model(small_model(), config), longest=60, everything=True)
    assert all(path.right and path.difference < 1e-5 for path in check.paths)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_tolerances_follow_the_precision(dtype):
    model = small_model(initializer_range=0.3).to(dtype)
    check = check_model(model, longest=60, everything=True)
    assert all(path.right for path in check.paths), check.paths
    assert max(path.difference for path in check.paths) < {torch.float64: 2e-6}.get(dtype, 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_fault_of_some_tenths_of_a_nat_is_found_in_every_precision(dtype):
    """Positions off by one, as a wrong mask would have them."""
    model = small_model(initializer_range=0.3).to(dtype)
    decoder = model.get_decoder()
    name, former = cache_argument(decoder), decoder.forward

    def shifted(*args, position_ids=None, **kwargs):
        if position_ids is not None and kwargs.get(name) is not None:
            position_ids = position_ids + 1
        return former(*args, position_ids=position_ids, **kwargs)

    decoder.forward = shifted
    check = check_model(model, longest=60)
    assert not paths(check)[SHARED].right, check
    assert paths(check)[ORDINARY].right


def test_nothing_is_left_changed():
    model = small_model(attention_dropout=0.2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(numpy.random.get_state())
    first, second = check_model(model, everything=True), check_model(model, everything=True)
    assert first == second
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(numpy.random.get_state())) == states[1:]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weights_that_are_not_here_are_not_computed_with():
    with torch.device("meta"):
        away = small_model()
    check = check_model(away)
    assert check.skipped == "its weights are not in memory"
    assert check.shares_prompts
    assert check.sampler == SHARED_SAMPLER


def test_a_state_that_drifts_is_found_by_longer_responses():
    """What a token at a time loses of a state is next to nothing at first, and adds up."""
    torch.manual_seed(0)
    sizes = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4)
    model = MambaForCausalLM(MambaConfig(**sizes, initializer_range=0.3))
    assert check_model(model, longest=60).sampler == GENERATE
    steps = [0]

    def drift(module, args, kwargs, output):
        steps[0] = steps[0] + 1 if kwargs["input_ids"].shape[1] == 1 else 0
        output.logits = output.logits * (1 + 3e-7 * steps[0] ** 3)

    model.register_forward_hook(drift, with_kwargs=True)
    check = check_model(model, longest=60)
    assert "other log-probabilities through it" in check.refusal and "cannot be sampled from" in check.refusal


def test_a_row_that_rounding_changes_does_not_excuse_the_others():
    """Where an expert's choice hangs on the last bit, a row moves by whole nats; a fault in another row stays one."""

    class Twins(LlamaForCausalLM):
        """A token of the first response whose logits rounding turns round."""

        def forward(self, input_ids=None, **kwargs):
            output = super().forward(input_ids=input_ids, **kwargs)
            embedded = self.get_input_embeddings()(input_ids)
            stored = self.get_input_embeddings().weight[input_ids]
            touched = (embedded != stored).any(-1) & (input_ids == self.twin)
            output.logits = torch.where(touched[..., None], -output.logits, output.logits)
            return output

    model = Twins(small_model(initializer_range=0.3).config)
    alone = Alone(model.eval(), Probe.of(model, 0, 60))
    model.twin = alone._probe.responses[0][-2]
    rows = alone._probe.responses
    with torch.no_grad():
        assert alone.is_rounding([1.0, 0.0, 0.0, 0.0], rows), "the first row moves by as much itself"
        assert not alone.is_rounding([0.0, 0.0, 0.01, 0.0], rows)
        assert not alone.is_rounding([0.0, 0.0, float("nan"), 0.0], rows)


def test_a_model_under_autocast_is_checked_in_its_own_precision():
    """A trainer's model has been prepared for bfloat16 by then, whose rounding is no difference between paths."""
    model = sharpened(MistralConfig(**GATED, sliding_window=8))
    alone = check_model(model, longest=18, shared=False, everything=True)
    model._original_forward = model.forward  # as accelerate prepares a model
    model.forward = forward = torch.autocast("cpu", dtype=torch.bfloat16)(model.forward)
    check = check_model(model, longest=18, shared=False, everything=True)
    assert [path.difference for path in check.paths] == [path.difference for path in alone.paths]
    assert model.forward is forward

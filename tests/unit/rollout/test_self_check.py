"""What the self-check finds right, falls back from, and refuses."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    Cohere2Config,
    CTRLConfig,
    DogeConfig,
    ElectraConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GptOssConfig,
    InklingTextConfig,
    Llama4TextConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MiniMaxM3VLTextConfig,
    MistralConfig,
    NemotronConfig,
    OpenAIGPTConfig,
    RobertaConfig,
)

from r2vpo.core.log_probs import length_limits
from r2vpo.core.log_probs.support import shifts_under_padding
from r2vpo.rollout import SelfCheck, SharedPrefixSampler, check_model
from r2vpo.rollout.probe import Alone, Probe
from r2vpo.rollout.self_check import BY_LENGTH, CHUNKED, GENERATE, ORDINARY, SHARED, SHARED_SAMPLER
from tests.unit.core.log_probs.small_models import VOCABULARY, small_model

SIZES = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
GATED = dict(**SIZES, intermediate_size=48, num_key_value_heads=2)
GPT = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)
DECODER = dict(**SIZES, intermediate_size=48, is_decoder=True)


def sharpened(config, *, dtype=torch.float32):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model.to(dtype)


def paths(check: SelfCheck) -> dict:
    return {path.name: path for path in check.paths}


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
    assert list(paths(check)) == [ORDINARY, SHARED, CHUNKED, SHARED_SAMPLER, GENERATE, BY_LENGTH]
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
    assert paths(check)[ORDINARY].difference < 1e-5
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
    former = decoder.forward

    def shifted(*args, position_ids=None, past_key_values=None, **kwargs):
        if position_ids is not None and past_key_values is not None:
            position_ids = position_ids + 1
        return former(*args, position_ids=position_ids, past_key_values=past_key_values, **kwargs)

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


def test_blocks_that_padding_shifts_are_sampled_by_length():
    """Blocks longer than the rows of the check: nothing is wrong with those, and 4.7 nats with longer ones."""
    torch.manual_seed(0)
    layers = dict(layer_types=["full_attention", "minimax_m3_sparse"], mlp_layer_types=["dense", "dense"])
    config = MiniMaxM3VLTextConfig(**GATED, head_dim=8, rotary_dim=8, dense_intermediate_size=48, **layers)
    check = check_model(AutoModelForCausalLM.from_config(config))
    assert check.sampler == BY_LENGTH
    assert {path.name: path.reason for path in check.paths}[GENERATE].endswith("blocks that padding shifts")


def inkling(start):
    sizes = SIZES | {"num_hidden_layers": 1, "num_key_value_heads": 4}
    layers = dict(layer_types=["hybrid"], mlp_layer_types=["dense"], log_scaling_n_floor=start, rel_extent=16, d_rel=4)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(InklingTextConfig(**sizes, **layers, intermediate_size=48, head_dim=8))


def test_attention_that_is_scaled_by_the_index_behind_a_length_is_sampled_by_length_there():
    """Rows of the check are shorter than that, so that padding changes nothing in them."""
    within, behind, unknown = (check_model(inkling(100), longest=longest) for longest in (99, 100, None))
    assert within.sampler == GENERATE and within.refusal is None
    for check in (behind, unknown):
        assert check.sampler == BY_LENGTH
        assert "padding included, from 100 tokens on" in paths(check)[GENERATE].reason


def test_llama_4_scales_by_the_index_too():
    config = Llama4TextConfig(**GATED, head_dim=8, floor_scale=64, attention_chunk_size=500, num_local_experts=2)
    assert [limit.tokens for limit in length_limits(config) if limit.padding] == [63]
    assert shifts_under_padding(config, 63) is None and "from 64 tokens on" in shifts_under_padding(config, 64)
    config.attn_temperature_tuning = False
    assert not any(limit.padding for limit in length_limits(config))


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


def counted(model):
    """A list that grows by one with every call of the model alone."""
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_a_kept_result_is_given_once_to_the_same_question():
    model = small_model()
    calls = counted(model)
    first = check_model(model, longest=60, keep=True)
    ran = len(calls)
    assert check_model(model, longest=60) is first and len(calls) == ran
    assert check_model(model, longest=60) == first and len(calls) == 2 * ran, "it is kept for one check"


@pytest.mark.parametrize("changed", ["weights", "question", "precision", "adapters"])
def test_a_kept_result_is_not_that_of_another_model_or_question(changed):
    model = small_model()
    check_model(model, longest=60, keep=True)
    question = {"longest": 60}
    if changed == "weights":
        with torch.no_grad():
            model.lm_head.weight.fill_(torch.nan)
    elif changed == "question":
        question["longest"] = 61
    elif changed == "precision":
        model = model.to(torch.bfloat16)
    else:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]))
    calls = counted(model.get_base_model() if changed == "adapters" else model)
    check = check_model(model, **question)
    assert calls and ("not numbers" in (check.refusal or "")) is (changed == "weights")


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


def test_keys_chosen_from_a_row_are_right_up_to_their_number_and_refused_behind():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DogeConfig(**GATED, keep_window_size=32))
    within, behind = (check_model(model, longest=longest) for longest in (32, 33))
    assert within.refusal is None
    assert behind.refusal.startswith("the model keeps the 32 strongest keys of a row")


@pytest.mark.parametrize(
    ("rope", "options"),
    [
        ("dynamic", {"factor": 4.0}),
        ("longrope", {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 64}),
    ],
)
def test_positions_that_change_with_the_length_are_right_below_it_and_refused_behind(rope, options):
    model = small_model(
        max_position_embeddings=64, rope_parameters={"rope_type": rope, "rope_theta": 10_000.0, **options}
    )
    below, unknown, behind = (check_model(model, longest=longest) for longest in (64, None, 65))
    assert below.shares_prompts
    assert below.sampler == SHARED_SAMPLER
    assert not unknown.shares_prompts
    assert unknown.sampler == GENERATE
    assert "behind 64" in behind.refusal or "passes 64" in behind.refusal


def test_the_sampler_knows_how_long_its_rows_will_be():
    model = sharpened(MistralConfig(**GATED, sliding_window=16))
    sampler = SharedPrefixSampler(model, eos_token_ids=[], pad_token_id=0, max_new_tokens=6)
    assert len(sampler.sample([list(range(10))], 2, seed=0)) == 2
    with pytest.raises(ValueError, match=r"cannot sample 17 tokens.*sliding window of 16"):
        sampler.sample([list(range(11))], 2, seed=0)

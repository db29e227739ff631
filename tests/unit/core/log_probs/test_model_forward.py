import copy
import inspect
import pickle

import pytest
import torch
from peft import AdaptionPromptConfig, LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
    T5Config,
    T5ForConditionalGeneration,
)

from r2vpo.core.log_probs import (
    PrefixBatch,
    TokenLogProbs,
    forward_log_probs,
    install,
    supports_shared_prefix,
)
from tests.unit.core.log_probs.small_models import ordinary_log_probs, random_batch, small_model

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
SIZES = dict(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    head_dim=8,
)


def batch_of_two():
    return random_batch(common=9, tails=[3, 5], rows=[0, 0, 1], tokens=4)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_plain_models_are_supported(kind):
    assert supports_shared_prefix(small_model(kind)) is None
    assert supports_shared_prefix(small_model(kind, tie_word_embeddings=False)) is None


@pytest.mark.parametrize(
    "config",
    [
        Qwen3Config(**SIZES, num_key_value_heads=2),
        MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=None),
        GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, bos_token_id=None, eos_token_id=None),
    ],
    ids=lambda config: config.model_type,
)
def test_what_is_called_supported_agrees_with_the_ordinary_forward(config):
    torch.manual_seed(0)
    model, batch = AutoModelForCausalLM.from_config(config).eval(), batch_of_two()
    assert supports_shared_prefix(model) is None
    expected, _ = ordinary_log_probs(model, batch)
    torch.testing.assert_close(forward_log_probs(model, batch, temperature=1.0).log_probs, expected, **CLOSE)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=16), "sliding"),
        (Gemma2Config(**SIZES, num_key_value_heads=2), "sliding window of 4096"),
        (
            Gemma2Config(**SIZES, num_key_value_heads=2, layer_types=["full_attention"] * 2),
            "final_logit_softcapping=30",
        ),
        (GraniteConfig(**SIZES, num_key_value_heads=2, logits_scaling=8.0), "logits_scaling=8"),
        (
            CohereConfig(
                **{k: v for k, v in SIZES.items() if k != "head_dim"}, num_key_value_heads=2, logit_scale=0.25
            ),
            "logit_scale=0.25",
        ),
        (MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4), "cache"),
        (BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4), "position_ids"),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_what_cannot_be_shared_is_named(config, reason):
    assert reason in supports_shared_prefix(AutoModelForCausalLM.from_config(config))


class ScaledHead(torch.nn.Linear):
    """An output layer that does more than multiply by its weights, as that of Dory."""

    def forward(self, hidden):
        return 1.3 * super().forward(hidden)


def test_encoder_decoder_checkpointing_and_other_heads_are_named():
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=97, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    assert "encoder-decoder" in supports_shared_prefix(t5)
    model = small_model()
    model.gradient_checkpointing_enable()
    model.eval()
    assert supports_shared_prefix(model) is None
    model.train()
    assert "gradient checkpointing" in supports_shared_prefix(model)
    model = small_model()
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert "Sequential" in supports_shared_prefix(model)
    model = small_model()
    model.lm_head = ScaledHead(model.config.hidden_size, model.config.vocab_size, bias=False)
    assert "ScaledHead, not a plain linear layer" in supports_shared_prefix(model)
    wrapped = get_peft_model(small_model(), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    assert "learns prompts" in supports_shared_prefix(wrapped)


def test_an_installed_model_runs_the_batch_in_its_call_and_everything_else_as_before():
    model, batch = small_model(), batch_of_two()
    ids = torch.arange(1, 9)[None]
    before, signature = model(input_ids=ids).logits, inspect.signature(model.forward)
    greedy = model.generate(ids, max_new_tokens=5, do_sample=False)
    install(model)
    install(model)
    result = model(prefix_batch=batch, temperature=0.7)
    assert isinstance(result, TokenLogProbs)
    expected = forward_log_probs(model, batch, temperature=0.7)
    torch.testing.assert_close(result.log_probs, expected.log_probs, rtol=0, atol=0)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=0, atol=0)
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=0)
    assert inspect.signature(model.forward) == signature
    assert torch.equal(model.generate(ids, max_new_tokens=5, do_sample=False), greedy)


def test_hooks_of_the_module_call_see_the_batch():
    model, seen = small_model(), []
    install(model)
    model.register_forward_hook(lambda module, args, output: seen.append(type(output)))
    model(prefix_batch=batch_of_two(), temperature=1.0)
    assert seen == [TokenLogProbs]


def test_a_deep_copy_is_independent_of_the_original():
    model, batch = small_model(), batch_of_two()
    install(model)
    expected = model(prefix_batch=batch).log_probs.detach()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.testing.assert_close(twin(prefix_batch=batch).log_probs, expected, rtol=0, atol=0)
    assert float(twin(input_ids=torch.tensor([[1, 2]])).logits.detach().abs().max()) > 0


def test_a_forward_that_was_replaced_before_stays_in_use_in_model_and_copy():
    model, calls = small_model(), []

    def counted(self, *args, **kwargs):
        calls.append(self)
        return LlamaForCausalLM.forward(self, *args, **kwargs)

    model.forward = counted.__get__(model)
    install(model)
    twin = copy.deepcopy(model)
    model(input_ids=torch.tensor([[1, 2]]))
    twin(input_ids=torch.tensor([[1, 2]]))
    assert calls == [model, twin]


def test_an_installed_model_can_be_pickled_and_installed_again():
    model, batch = small_model(), batch_of_two()
    install(model)
    loaded = pickle.loads(pickle.dumps(model))
    install(loaded)
    torch.testing.assert_close(loaded(prefix_batch=batch).log_probs, model(prefix_batch=batch).log_probs)


def test_peft_models_pass_the_batch_down_with_their_adapters():
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model, batch = get_peft_model(small_model(), config), batch_of_two()
    assert supports_shared_prefix(model) is None
    expected, _ = ordinary_log_probs(model.get_base_model(), batch)
    with model.disable_adapter():
        plain, _ = ordinary_log_probs(model.get_base_model(), batch)
    assert float((plain - expected).detach().abs().max()) > 0.01
    install(model)
    result = model(prefix_batch=batch, temperature=1.0)
    torch.testing.assert_close(result.log_probs, expected, **CLOSE)
    result.log_probs.sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in model.named_parameters() if "lora" in name}


def test_a_wrapper_that_kept_the_model_s_forward_passes_the_batch_down_too():
    model = get_peft_model(small_model(), AdaptionPromptConfig(task_type="CAUSAL_LM", adapter_len=4, adapter_layers=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adaption_gate" in name:
                parameter.fill_(1.0)
    batch = batch_of_two()
    expected, _ = ordinary_log_probs(model, batch, temperature=0.8)
    install(model)
    for shared in (True, False):
        got = model(prefix_batch=batch, temperature=0.8, shared=shared).log_probs
        torch.testing.assert_close(got, expected, **CLOSE)
    assert model(input_ids=batch.prompt_ids).logits.shape[-1] == 97


def test_autocast_reaches_the_batch_and_results_stay_float32():
    model, batch = small_model(), batch_of_two()
    install(model)
    with torch.autocast("cpu", torch.bfloat16):
        result = model(prefix_batch=batch)
    exact = model(prefix_batch=batch)
    assert result.log_probs.dtype == torch.float32
    difference = (result.log_probs - exact.log_probs).detach().abs().max()
    assert 1e-6 < float(difference) < 0.3


def test_a_batch_without_an_unmasked_token_has_zeros_and_a_graph():
    model, batch = small_model(), batch_of_two()
    empty = PrefixBatch(
        batch.prompt_ids,
        batch.prompt_mask,
        batch.group_index,
        batch.response_ids,
        torch.zeros_like(batch.response_mask),
    )
    result = forward_log_probs(model, empty, temperature=1.0)
    assert bool((result.log_probs == 0).all())
    result.log_probs.sum().backward()
    assert all(bool((parameter.grad == 0).all()) for parameter in model.parameters())


def test_rows_are_independent_of_each_other():
    model, batch = small_model(), batch_of_two()
    order = torch.tensor([2, 0, 1])
    shuffled = PrefixBatch(
        batch.prompt_ids,
        batch.prompt_mask,
        batch.group_index[order],
        batch.response_ids[order],
        batch.response_mask[order],
    )
    expected = forward_log_probs(model, batch, temperature=1.0).log_probs[order]
    torch.testing.assert_close(forward_log_probs(model, shuffled, temperature=1.0).log_probs, expected, **CLOSE)

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BioGptConfig,
    CohereConfig,
    CTRLConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTBigCodeConfig,
    MambaConfig,
    MixtralConfig,
    OpenAIGPTConfig,
    XGLMConfig,
)

from r2vpo.core.log_probs import PrefixBatch, install, ordinary_log_probs
from r2vpo.core.log_probs.ordinary import logit_log_probs, right_padded
from tests.tolerances import FLOAT32, FLOAT64
from tests.unit.core.log_probs.small_models import VOCABULARY, random_batch, small_model

SIZES = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
GATED = dict(**SIZES, intermediate_size=48, num_key_value_heads=2)
GPT = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)
NO_IDS = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)
CONFIGS = [
    GPT2Config(**GPT, **NO_IDS),
    GPTBigCodeConfig(**GPT, **NO_IDS),
    CTRLConfig(**GPT, dff=48),
    BioGptConfig(**SIZES, intermediate_size=48, pad_token_id=0),
    XGLMConfig(vocab_size=VOCABULARY, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4, pad_token_id=0),
    OpenAIGPTConfig(**GPT),
    BertConfig(**SIZES, intermediate_size=48, is_decoder=True),
    FalconConfig(**SIZES, alibi=True),
    Gemma2Config(**GATED, head_dim=8, sliding_window=5, final_logit_softcapping=2.0),
    CohereConfig(**GATED, logit_scale=0.25),
    MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4),
]


def sharpened(config, *, seed=0):
    """A random model whose distributions are far from uniform, so that a wrong position shows."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model


def batch_of_three():
    return random_batch(common=9, tails=[3, 6, 1], rows=[0, 2, 1, 0, 1], tokens=5)


def unpadded(model, batch, temperature=1.0):
    """Each row on its own, without padding, mask, positions or cache."""
    log_probs = torch.zeros(batch.response_ids.shape, dtype=torch.float64)
    entropy = torch.zeros_like(log_probs)
    for row, group in enumerate(batch.group_index.tolist()):
        prompt = batch.prompt_ids[group][batch.prompt_mask[group]]
        last = int((batch.response_mask[row] * torch.arange(1, batch.response_mask.shape[1] + 1)).max())
        ids = torch.cat([prompt, batch.response_ids[row, :last]])
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, len(prompt) - 1 : -1].double()
        everything = (logits / temperature).log_softmax(-1)
        chosen = everything.gather(-1, batch.response_ids[row, :last, None]).squeeze(-1)
        mask = batch.response_mask[row, :last]
        log_probs[row, :last] = torch.where(mask, chosen, 0.0)
        entropy[row, :last] = torch.where(mask, torch.special.entr(everything.exp()).sum(-1), 0.0)
    return log_probs, entropy


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_rows_under_padding_have_the_log_probs_of_rows_alone(config, temperature):
    model, batch = sharpened(config), batch_of_three()
    expected, entropy = unpadded(model, batch, temperature)
    found = ordinary_log_probs(model, batch, temperature=temperature)
    torch.testing.assert_close(found.log_probs.detach().double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found.entropy.double(), entropy, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS[:5], ids=lambda config: config.model_type)
def test_padding_on_the_left_would_be_seen(config):
    """The control: these models count positions by index, so that the layout decides."""
    model, batch = sharpened(config), batch_of_three()
    expected, _ = unpadded(model, batch)
    ids = torch.cat([batch.prompt_ids[batch.group_index], batch.response_ids], dim=1)
    mask = torch.cat([batch.prompt_mask[batch.group_index], batch.response_mask], dim=1).long()
    logits = model(input_ids=ids, attention_mask=mask).logits[:, batch.prompt_ids.shape[1] - 1 : -1]
    left = logits.log_softmax(-1).gather(-1, batch.response_ids[..., None]).squeeze(-1)
    assert float((left - expected)[batch.response_mask].abs().max()) > 0.05


def test_masked_tokens_inside_a_response_are_attended_to():
    model, batch = small_model(), batch_of_three()
    mask = torch.ones_like(batch.response_mask)
    mask[:, 1:3] = False
    holes = PrefixBatch(batch.prompt_ids, batch.prompt_mask, batch.group_index, batch.response_ids, mask)
    expected, _ = unpadded(model, holes)
    found = ordinary_log_probs(model, holes, temperature=1.0).log_probs
    torch.testing.assert_close(found.detach().double(), expected, **FLOAT32)
    assert (found[:, 1:3] == 0).all()
    assert (found[:, 3] < 0).all()


def test_a_row_without_an_unmasked_token_has_zeros_and_a_graph():
    model, batch = small_model(), batch_of_three()
    for rows in (slice(None), slice(1, 2)):
        mask = batch.response_mask.clone()
        mask[rows] = False
        empty = PrefixBatch(batch.prompt_ids, batch.prompt_mask, batch.group_index, batch.response_ids, mask)
        found = ordinary_log_probs(model, empty, temperature=1.0)
        assert (found.log_probs[rows] == 0).all()
        found.log_probs.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_rows_begin_at_index_0_and_are_cut_behind_the_last_token_wanted():
    prompts = torch.tensor([[9, 9, 1, 2], [3, 4, 5, 6]])
    prompt_mask = torch.tensor([[False, False, True, True], [True] * 4])
    responses = torch.tensor([[10, 11, 12], [20, 21, 22]])
    wanted = torch.tensor([[True, True, False], [True, False, False]])
    rows = right_padded(PrefixBatch(prompts, prompt_mask, torch.tensor([0, 1]), responses, wanted))
    assert rows.ids.tolist() == [[1, 2, 10, 11, 1], [3, 4, 5, 6, 20]]
    assert rows.mask.tolist() == [[True] * 4 + [False], [True] * 5]
    assert rows.first == 1
    assert rows.places.tolist() == [[0, 1], [2, 3]]


def test_a_prompt_without_a_token_is_named():
    batch = batch_of_three()
    batch.prompt_mask[2] = False
    with pytest.raises(ValueError, match="prompt 2 has no token"):
        ordinary_log_probs(small_model(), batch, temperature=1.0)


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
def test_gradients_are_those_of_a_log_softmax(chunk_size):
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 7, dtype=torch.float64, requires_grad=True)
    index, targets = torch.tensor([[0, 2, 3], [1, 4, 4]]), torch.tensor([[6, 0, 3], [2, 2, 5]])
    weights = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.25, 0.0]], dtype=torch.float64)
    found = logit_log_probs(logits, index, targets, temperature=0.6, chunk_size=chunk_size)
    (gradient,) = torch.autograd.grad((found.log_probs * weights).sum(), logits)
    everything = (logits / 0.6).log_softmax(-1)
    rows = torch.arange(2)[:, None]
    expected = everything[rows, index, targets]
    torch.testing.assert_close(found.log_probs, expected, **FLOAT64)
    torch.testing.assert_close(found.entropy, torch.special.entr(everything.exp()).sum(-1)[rows, index], **FLOAT64)
    torch.testing.assert_close(gradient, torch.autograd.grad((expected * weights).sum(), logits)[0], **FLOAT64)
    assert not found.entropy.requires_grad


def test_a_token_that_cannot_come_has_no_part_in_the_entropy():
    logits = torch.tensor([[[0.0, 0.0, -torch.inf]]], requires_grad=True)
    found = logit_log_probs(logits, torch.tensor([[0]]), torch.tensor([[1]]), temperature=1.0)
    torch.testing.assert_close(found.entropy, torch.tensor([[2.0]]).log(), **FLOAT32)
    found.log_probs.sum().backward()
    assert logits.grad.isfinite().all()


def test_the_call_of_an_installed_model_gives_the_same_with_adapters_and_checkpointing():
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model, batch = get_peft_model(small_model(), config), batch_of_three()
    expected, _ = unpadded(model.get_base_model(), batch)
    install(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    found = model(prefix_batch=batch, shared=False, temperature=1.0)
    torch.testing.assert_close(found.log_probs.detach().double(), expected, rtol=1e-5, atol=1e-5)
    found.log_probs.sum().backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in model.named_parameters() if "lora" in name}


def test_the_router_loss_comes_along_and_leaves_padding_out():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MixtralConfig(**GATED, num_local_experts=4)).eval()
    batch = random_batch(common=9, tails=[3, 6], rows=[0, 1], tokens=5, ragged=False)
    found = ordinary_log_probs(model, batch, temperature=1.0, aux_loss=True)
    assert ordinary_log_probs(model, batch, temperature=1.0).aux_loss is None
    rows = right_padded(batch)
    junk = torch.where(rows.mask, rows.ids, 5)
    expected = model(input_ids=junk, attention_mask=rows.mask.long(), output_router_logits=True).aux_loss
    torch.testing.assert_close(found.aux_loss, expected, **FLOAT32)
    found.aux_loss.backward()
    assert any("gate" in name and p.grad is not None and p.grad.any() for name, p in model.named_parameters())
    with pytest.raises(ValueError, match="no aux_loss"):
        ordinary_log_probs(small_model(), batch, temperature=1.0, aux_loss=True)


def test_the_largest_tensor_of_the_forward_is_the_models_logits():
    """A second copy of the logits would be the largest tensor of a step once more."""
    model, batch = small_model(vocab_size=20_000), batch_of_three()
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.numel() >= 20_000 * 8 and not function.is_view:
                sizes.append((str(function), tuple(result.shape)))
            return result

    with torch.no_grad(), Watch():
        ordinary_log_probs(model, batch, temperature=0.5, chunk_size=4)
    rows = right_padded(batch)
    count = rows.ids.shape[0] * (rows.ids.shape[1] - rows.first)
    assert sizes == [("aten.mm.default", (count, 20_000)), ("aten._unsafe_view.default", (5, count // 5, 20_000))]

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from r2vpo.sampling import SharedPrefixSampler
from r2vpo.sampling.attention import NAME, grouped_attention, grouped_decoding
from tests.unit.core.log_probs.small_models import small_model


class Layer(torch.nn.Module):
    num_key_value_groups = 3
    is_causal = True


def heads(tokens, dtype=torch.float64, keys=7):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 6, tokens, 4), (2, 2, keys, 4), (2, 2, keys, 4))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_what_transformers_computes(tokens, masked, scaling):
    query, key, value = heads(tokens)
    mask = torch.ones(2, 1, tokens, 7, dtype=torch.bool).tril() if masked else None
    ours, _ = grouped_attention(Layer(), query, key, value, mask, scaling=scaling)
    theirs, _ = sdpa_attention_forward(Layer(), query, key, value, mask, scaling=scaling)
    assert ours.shape == theirs.shape == (2, tokens, 6, 4)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_by_hand_each_head_reads_the_keys_of_its_group():
    query, key, value = heads(1)
    ours, _ = grouped_attention(Layer(), query, key, value, None)
    for head in range(6):
        scores = (query[:, head] @ key[:, head // 3].transpose(-1, -2)) / 4**0.5
        torch.testing.assert_close(ours[:, :, head], scores.softmax(-1) @ value[:, head // 3])


def test_the_configuration_is_as_it_was_afterwards():
    model = small_model()
    decoder = model.get_decoder()
    with pytest.raises(RuntimeError, match="broken"), grouped_decoding(decoder):
        assert decoder.config._attn_implementation == NAME
        raise RuntimeError("broken")
    assert decoder.config._attn_implementation == "sdpa"


def test_an_eager_model_stays_eager():
    model = small_model(attn_implementation="eager")
    with grouped_decoding(model.get_decoder()):
        assert model.config._attn_implementation == "eager"


def test_sampling_uses_it_and_draws_the_same(monkeypatch):
    model = small_model()
    sampler = SharedPrefixSampler(model, eos_token_ids=[], pad_token_id=0, max_new_tokens=5)
    ours = sampler.sample([[3, 4, 5]], 4, seed=0)
    calls = []
    monkeypatch.setattr(
        "r2vpo.sampling.attention.scaled_dot_product_attention",
        lambda *args, **kwargs: calls.append(1) or torch.nn.functional.scaled_dot_product_attention(*args, **kwargs),
    )
    sampler.sample([[3, 4, 5]], 4, seed=0)
    assert len(calls) == 4 * model.config.num_hidden_layers
    monkeypatch.setattr("r2vpo.sampling.attention.NAME", "sdpa")
    theirs = sampler.sample([[3, 4, 5]], 4, seed=0)
    assert [s.response_ids for s in ours] == [s.response_ids for s in theirs]

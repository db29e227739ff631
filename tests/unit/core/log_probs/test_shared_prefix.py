import pytest
import torch

from r2vpo.core.log_probs import (
    PrefixBatch,
    forward_log_probs,
    prompt_states,
    shared_prefix_hidden_states,
)
from r2vpo.core.log_probs import shared_prefix as module
from tests.unit.core.log_probs.small_models import (
    KINDS,
    gradients,
    left_padded,
    ordinary_log_probs,
    random_batch,
    small_model,
)

CLOSE = {"rtol": 1e-4, "atol": 1e-4}

SHAPES = {
    "plain": dict(common=0, tails=[9, 9], rows=[0, 0, 1, 1], tokens=4),
    "left padding": dict(common=0, tails=[3, 11, 6], rows=[0, 0, 1, 1, 2, 2], tokens=5),
    "common start": dict(common=13, tails=[1, 7, 4], rows=[0, 0, 0, 1, 1, 1, 2, 2, 2], tokens=5),
    "groups of unequal size, in no order": dict(common=13, tails=[2, 7, 4], rows=[2, 0, 2, 1, 2], tokens=3),
    "a prompt without a response": dict(common=9, tails=[2, 7, 4], rows=[2, 0, 2], tokens=3),
    "one group": dict(common=0, tails=[17], rows=[0, 0, 0], tokens=3),
    "a common start, behind which the rows are long": dict(common=40, tails=[4, 9], rows=[0] * 5 + [1] * 3, tokens=6),
    "rows of one pass, of unequal length": dict(common=3, tails=[2, 9, 5], rows=[0] * 4 + [1] * 2 + [2], tokens=8),
    "one row": dict(common=0, tails=[5], rows=[0], tokens=2),
    "one response token": dict(common=10, tails=[2, 3], rows=[0, 1, 1], tokens=1),
    "prompts of one token": dict(common=0, tails=[1, 1], rows=[0, 0, 1], tokens=3),
    "common start, own tail of one token": dict(common=20, tails=[1, 1], rows=[0, 1], tokens=3),
    "several rows a group": dict(common=0, tails=[6, 4], rows=[0] * 7 + [1] * 2, tokens=26),
    "long responses, a row each": dict(common=9, tails=[6, 4], rows=[0, 1, 0], tokens=70),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_probs_and_gradients_are_those_of_the_ordinary_forward(kind, shape):
    model, batch = small_model(kind), random_batch(**SHAPES[shape])
    expected, expected_entropy = ordinary_log_probs(model, batch, temperature=0.8)
    result = forward_log_probs(model, batch, temperature=0.8)
    torch.testing.assert_close(result.log_probs, expected, **CLOSE)
    torch.testing.assert_close(result.entropy, expected_entropy.detach(), **CLOSE)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    want = gradients(model, expected, weights)
    got = gradients(model, result.log_probs, weights)
    assert max(float(value.abs().max()) for value in want.values()) > 0.1
    for name in want:
        torch.testing.assert_close(got[name], want[name], **CLOSE, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("share_common", [False, True])
def test_every_layout_gives_the_same_hidden_states(implementation, share_common):
    model = small_model(attn_implementation=implementation)
    batch = random_batch(common=12, tails=[5, 1, 8], rows=[1, 0, 0, 2, 1], tokens=6, ragged=False)
    expected, _ = ordinary_log_probs(model, batch)
    hidden = shared_prefix_hidden_states(model.model, batch, share_common=share_common)
    assert hidden.shape == (5, 6, 32)
    log_probs = model.lm_head(hidden).log_softmax(-1).gather(-1, batch.response_ids[..., None]).squeeze(-1)
    torch.testing.assert_close(log_probs, expected, **CLOSE)


def test_the_tree_is_computed_once(monkeypatch):
    model = small_model()
    shapes = []
    forward = model.model.forward
    monkeypatch.setattr(
        model.model,
        "forward",
        lambda **kwargs: shapes.append(tuple(kwargs["input_ids"].shape)) or forward(**kwargs),
    )
    batch = random_batch(common=20, tails=[3, 5], rows=[0] * 4 + [1] * 4, tokens=6, ragged=False)
    shared_prefix_hidden_states(model.model, batch)
    assert shapes == [(1, 20), (2, 5), (2, 4 * 5)]
    shapes.clear()
    # Less in common than a pass of its own is worth.
    batch = random_batch(common=module.MIN_COMMON_TOKENS - 1, tails=[3, 5], rows=[0, 1], tokens=6, ragged=False)
    shared_prefix_hidden_states(model.model, batch)
    # A prompt and its responses are a row of one pass.
    assert shapes == [(2, module.MIN_COMMON_TOKENS - 1 + 5 + 5)]
    shapes.clear()
    rows = module.ONE_PASS_TOKENS // 5 - 1
    batch = random_batch(common=0, tails=[5, 3], rows=[0] * rows + [1], tokens=6, ragged=False)
    shared_prefix_hidden_states(model.model, batch)
    assert shapes == [(2, 5 + rows * 5)]
    shapes.clear()
    # One token more and it is two.
    batch = random_batch(common=0, tails=[10, 3], rows=[0] * rows + [1], tokens=6, ragged=False)
    shared_prefix_hidden_states(model.model, batch)
    assert shapes == [(2, 10), (2, rows * 5)]


def test_equal_prompts_keep_one_token_of_their_own():
    model = small_model()
    prompt = list(range(1, 15))
    ids, mask = left_padded([prompt, prompt])
    states = prompt_states(model.model, ids, mask)
    alone = prompt_states(model.model, ids[:1], mask[:1])
    torch.testing.assert_close(states.last_hidden, alone.last_hidden.expand(2, -1), **CLOSE)


def test_one_prompt_may_be_the_start_of_another():
    model = small_model()
    prompt = list(range(1, 20))
    ids, mask = left_padded([prompt, prompt[:12]])
    states = prompt_states(model.model, ids, mask)
    for row, tokens in enumerate([prompt, prompt[:12]]):
        alone = model.model(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
        torch.testing.assert_close(states.last_hidden[row], alone, **CLOSE)


def test_padding_of_prompts_and_responses_changes_nothing():
    model = small_model()
    batch = random_batch(common=9, tails=[3, 5], rows=[0, 1, 1], tokens=4)
    wider = PrefixBatch(
        torch.cat([torch.full((2, 3), 11), batch.prompt_ids], dim=1),
        torch.cat([torch.zeros(2, 3, dtype=torch.bool), batch.prompt_mask], dim=1),
        batch.group_index,
        torch.cat([torch.where(batch.response_mask, batch.response_ids, 0), torch.zeros(3, 2).long()], dim=1),
        torch.cat([batch.response_mask, torch.zeros(3, 2, dtype=torch.bool)], dim=1),
    )
    first = forward_log_probs(model, batch, temperature=1.0)
    second = forward_log_probs(model, wider, temperature=1.0)
    torch.testing.assert_close(second.log_probs[:, :4], first.log_probs, **CLOSE)
    assert bool((second.log_probs[:, 4:] == 0).all())


def test_masked_tokens_within_a_response_are_still_attended_to():
    model = small_model()
    batch = random_batch(common=0, tails=[4], rows=[0, 0], tokens=6, ragged=False)
    hole = batch.response_mask.clone()
    hole[:, 2:4] = False
    masked = PrefixBatch(batch.prompt_ids, batch.prompt_mask, batch.group_index, batch.response_ids, hole)
    everything = forward_log_probs(model, batch, temperature=1.0).log_probs
    torch.testing.assert_close(
        forward_log_probs(model, masked, temperature=1.0).log_probs,
        torch.where(hole, everything, torch.zeros(())),
        **CLOSE,
    )


def test_a_wrong_position_would_be_seen():
    """Negative control: positions by index instead of by mask are far outside the tolerance."""
    model, batch = small_model(), random_batch(**SHAPES["left padding"])
    expected, _ = ordinary_log_probs(model, batch)
    ids = torch.cat([batch.prompt_ids[batch.group_index], batch.response_ids], dim=1)
    logits = model(input_ids=ids).logits[:, batch.prompt_ids.shape[1] - 1 : -1]
    wrong = logits.log_softmax(-1).gather(-1, batch.response_ids[..., None]).squeeze(-1)
    assert float((wrong - expected).detach()[batch.response_mask].abs().max()) > 0.01


def test_a_prompt_without_a_token_is_refused():
    batch = random_batch(common=0, tails=[4, 2], rows=[0, 1], tokens=3)
    empty = batch.prompt_mask.clone()
    empty[1] = False
    with pytest.raises(ValueError, match="prompt 1 has no token"):
        prompt_states(small_model().model, batch.prompt_ids, empty)


def test_a_model_that_keeps_no_cache_is_noticed():
    model = small_model()
    model.gradient_checkpointing_enable()
    model.train()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        shared_prefix_hidden_states(model.model, random_batch(**SHAPES["common start"]))
    # A single pass needs no cache.
    short, expected = random_batch(**SHAPES["plain"]), small_model()
    hidden = shared_prefix_hidden_states(model.model, short)
    torch.testing.assert_close(hidden, shared_prefix_hidden_states(expected.model, short), **CLOSE)

"""Padding, order and micro-batches change nothing of the braked gradient; given tokens show how far logits moved."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from r2vpo.core.preferences import chi_po_scores, given_decisions, given_ratios, held_back
from r2vpo.core.ratios import decisions, logit_movement
from tests.tolerances import FLOAT64

BETA = 0.6


def batch(seed, pairs, width):
    g = torch.Generator().manual_seed(seed)
    old = -torch.randn(2 * pairs, width, generator=g, dtype=torch.float64).abs()
    mask = torch.rand(2 * pairs, width, generator=g) < 0.7
    return old + 0.5 * torch.randn(2 * pairs, width, generator=g, dtype=torch.float64), old, mask


def gradient(log_probs, old, mask, *, link, brake, pieces=1):
    """Of the mean loss over pairs, as accumulated over micro-batches whose losses are averaged."""
    leaf = log_probs.clone().requires_grad_()
    pairs, reference = len(leaf) // 2, torch.where(mask, old, 0.0).sum(dim=1)
    each = pairs // pieces
    for first in range(0, pairs, each):
        rows = [*range(first, first + each), *range(pairs + first, pairs + first + each)]
        scale = float(each * pieces)
        held = held_back(leaf[rows], old[rows], mask[rows], dual=0.2, scale=scale, brake=brake)
        whole = torch.where(mask[rows], held, 0.0).sum(dim=1) - reference[rows]
        sides = whole.chunk(2) if link == "kl" else chi_po_scores(*whole.chunk(2), beta=BETA, reward_bound=2.0)
        (-logsigmoid(BETA * (sides[0] - sides[1])).mean() / pieces).backward()
    return leaf.grad


CASES = {
    "seed": st.integers(0, 1000),
    "width": st.integers(1, 6),
    "link": st.sampled_from(["kl", "chi_po"]),
    "brake": st.sampled_from(["outward", "two_sided"]),
}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(**CASES, pieces=st.sampled_from([2, 3, 6]))
def test_micro_batches_add_up_to_the_whole(seed, width, link, brake, pieces):
    b = batch(seed, 6, width)
    options = {"link": link, "brake": brake}
    torch.testing.assert_close(gradient(*b, **options, pieces=pieces), gradient(*b, **options), **FLOAT64)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(**CASES, filler=st.sampled_from([math.nan, math.inf, -1e30]))
def test_what_padding_holds_changes_nothing(seed, width, link, brake, filler):
    log_probs, old, mask = batch(seed, 3, width)
    clean = gradient(log_probs, old, mask, link=link, brake=brake)
    dirty = gradient(torch.where(mask, log_probs, filler), torch.where(mask, old, filler), mask, link=link, brake=brake)
    assert torch.equal(clean, dirty)
    assert not dirty[~mask].any()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(**CASES)
def test_the_order_of_pairs_changes_nothing(seed, width, link, brake):
    log_probs, old, mask = batch(seed, 4, width)
    order = torch.tensor([2, 0, 3, 1, 6, 4, 7, 5])
    straight = gradient(log_probs, old, mask, link=link, brake=brake)
    shuffled = gradient(log_probs[order], old[order], mask[order], link=link, brake=brake)
    torch.testing.assert_close(shuffled, straight[order], **FLOAT64)


def moved(vocabulary, spread, movement, tokens=20_000):
    """Log-probs and log-sums of squares of tokens that others have drawn, before and after their logits moved."""
    g = torch.Generator().manual_seed(7)
    logits = spread * torch.randn(tokens, vocabulary, generator=g, dtype=torch.float64)
    after = logits + math.sqrt(movement) * torch.randn(tokens, vocabulary, generator=g, dtype=torch.float64)
    drawn = torch.randint(vocabulary, (tokens, 1), generator=g)
    old, new = (values.log_softmax(-1).gather(1, drawn).T for values in (logits, after))
    squares = (2 * logits.log_softmax(-1)).exp().sum(-1).log()[None]
    return new, old, squares, torch.ones_like(new, dtype=torch.bool)


@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("vocabulary", [2, 12, 200])
def test_the_movement_is_found_on_tokens_that_the_policy_did_not_sample(vocabulary, spread):
    new, old, squares, mask = moved(vocabulary, spread, 0.01)
    given_ones = given_decisions(old, squares, mask)
    found = float(given_ratios(new, old, mask, given_ones).movement_sums().value())
    assert found == pytest.approx(0.01, rel=0.08)
    # 1 - p is for sampled tokens: on tokens that are drawn in another way it is off, the more certain the policy is.
    if spread == 5.0:
        wrong = float(logit_movement(new, old, mask, decisions=decisions(old, mask)).value())
        assert abs(wrong / 0.01 - 1) > 0.2


def test_an_unlikely_token_that_became_likely_moves_the_logits_as_far_as_an_unlikely_one_that_became_impossible():
    old = torch.tensor([[-1.0, -13.0, -1.0]], dtype=torch.float64)
    mask = torch.ones(1, 3, dtype=torch.bool)
    decided = torch.full_like(old, 2.0)
    for step in (12.0, -12.0):
        new = old + torch.tensor([0.0, step, 0.0], dtype=torch.float64)
        assert float(given_ratios(new, old, mask, decided).movement_sums().value()) == pytest.approx(144 / 6)
    # As if the policy had sampled it, its probability alone would count: 2 (e^12 - 13) / 6.
    assert float(logit_movement(old + 12.0, old, mask, decisions=decided).value()) > 1e5


def test_decisions_of_padding_are_nothing():
    _, old, squares, mask = moved(12, 1.0, 0.01, tokens=6)
    mask[0, 3] = False
    squares[0, 3] = old[0, 3] = math.nan
    found = given_decisions(old, squares, mask)
    assert found[0, 3] == 0 and bool((found[mask] > 0).all())

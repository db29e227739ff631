"""The gain on held-out rows: its sums by hand, how they are pooled, and that it finds a known agreement."""

import math
from typing import NamedTuple

import pytest
import torch

from r2vpo.core.held_out import MEMORY, HeldOutGain, held_out_sums
from r2vpo.core.objectives import policy_gradient_loss
from r2vpo.core.radius import FURTHEST, PRICE, radius
from r2vpo.core.ratios import logit_movement


class Sums(NamedTuple):
    gain: float
    decisions: float
    moment: float
    before: float


def measured(held_out, **batch):
    output = policy_gradient_loss(**batch)
    return Sums(*held_out_sums(output.proximal, output.advantages, held_out).tolist())


def batch(ratio, advantages, *, tokens=2):
    rows = len(advantages)
    old_log_probs = torch.full((rows, tokens), math.log(0.5), dtype=torch.float64)
    return dict(
        log_probs=old_log_probs + math.log(ratio),
        old_log_probs=old_log_probs,
        advantages=torch.tensor(advantages, dtype=torch.float64),
        response_mask=torch.ones(rows, tokens, dtype=torch.bool),
    )


def test_sums_by_hand():
    sums = measured(**batch(1.5, [2.0, -1.0, 0.0]), held_out=torch.tensor([True, True, True]))
    bounded = 2 * (1.5 - 1) / (1.5 + 1)
    # Two tokens a row; the row without an advantage counts in none of them.
    assert sums.gain == pytest.approx(2 * (2.0 - 1.0) * bounded)
    assert sums.decisions == pytest.approx(2 * 2 * 0.501)
    assert sums.moment == pytest.approx(2 * 0.501 * (4.0 + 1.0))
    assert sums.before == 0.0, "the policy at the round's start has sampled the rows"


def test_only_held_out_rows_count():
    whole = batch(1.5, [2.0, -1.0])
    sums = measured(**whole, held_out=torch.tensor([False, True]))
    assert sums.gain == pytest.approx(-2 * 0.4)
    nothing = measured(**whole, held_out=None)
    assert nothing == (0.0, 0.0, 0.0, 0.0)


def test_weight_and_mask_are_followed():
    whole = batch(1.5, [1.0])
    whole["rollout_log_probs"] = whole["old_log_probs"] + math.log(2.0)  # a weight of 1/2
    whole["response_mask"] = torch.tensor([[True, False]])
    whole["log_probs"] = torch.tensor([[whole["log_probs"][0, 0].item(), math.nan]], dtype=torch.float64)
    sums = measured(**whole, held_out=torch.tensor([True]))
    assert sums.gain == pytest.approx(0.5 * 0.4) and sums.decisions == pytest.approx(0.5 * 0.501)
    assert sums.before == pytest.approx(2 * (0.5 * math.log(0.5) - 0.5 + 1))


def test_the_movement_since_the_rows_were_sampled_is_found():
    """Logits move by normal amounts of known size between the sampler and the policy at the round's start."""
    generator = torch.Generator().manual_seed(0)
    rows, size = 40_000, 0.3
    logits = torch.randn(rows, 10, generator=generator, dtype=torch.float64)
    moved = logits + size * torch.randn(rows, 10, generator=generator, dtype=torch.float64)
    token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
    sampled, start = (x.log_softmax(-1).gather(-1, token) for x in (logits, moved))
    sums = measured(
        log_probs=start,
        old_log_probs=start,
        rollout_log_probs=sampled,
        advantages=torch.ones(rows, dtype=torch.float64),
        response_mask=torch.ones(rows, 1, dtype=torch.bool),
        held_out=torch.ones(rows, dtype=torch.bool),
    )
    assert sums.before / sums.decisions == pytest.approx(size**2, rel=0.05)


def test_what_has_been_moved_since_the_rows_were_sampled_counts_at_its_price():
    gain = HeldOutGain()
    gain.add([6.0, 2.0, 2.0, 0.0], 1.0)
    fresh = gain.alignment(1.0)
    gain.add([0.0, 0.0, 0.0, 2.0 * 0.81], 1.0)
    assert gain.alignment(1.0) == pytest.approx(fresh - 0.9 * PRICE)
    # The best distance from the sampler is as before: that of this round is shorter by what has been moved.
    gains = {s / 100: fresh * s / 100 - PRICE * (0.9 + s / 100) ** 2 / 2 for s in range(2000)}
    assert gain.alignment(1.0) / PRICE == pytest.approx(max(gains, key=gains.__getitem__), abs=0.006)
    gain.add([0.0, 0.0, 0.0, -2.0], 1.0)
    assert gain.alignment(1.0) == pytest.approx(fresh), "rounding may bring a sum of rows of this policy below 0"


def test_a_token_that_becomes_likely_adds_at_most_two():
    sums = measured(**batch(1e8, [1.0], tokens=1), held_out=torch.tensor([True]))
    assert sums.gain == pytest.approx(2.0, rel=1e-6)


def test_micro_batches_add_up():
    one, other = batch(1.5, [2.0]), batch(0.7, [-1.0])
    held = torch.tensor([True])
    together = {name: torch.cat([one[name], other[name]]) for name in one}
    pairs = zip(measured(**one, held_out=held), measured(**other, held_out=held), strict=True)
    whole = measured(**together, held_out=torch.tensor([True, True]))
    assert [a + b for a, b in pairs] == pytest.approx(list(whole))


def test_rounds_are_pooled_with_a_memory():
    gain = HeldOutGain()
    assert gain.alignment(1.0) == 0.0
    gain.add([0.3, 2.0, 5.0, 0.0], 1.0)
    assert gain.alignment(1.0) == pytest.approx(0.3 / math.sqrt(2.0 * 5.0))
    gain.add([0.4, 2.0, 5.0, 0.0], 2.0)
    gain.begin_round()
    assert gain.alignment(0.25) == pytest.approx(0.7 / math.sqrt(0.25 * 6.0 * 15.0))
    gain.add([-0.1, 1.0, 1.0, 0.0], 3.0)
    gain.begin_round()
    pooled = (0.7 * MEMORY - 0.1, 6.0 * MEMORY + 3.0, 15.0 * MEMORY + 3.0)
    assert gain.alignment(0.25) == pytest.approx(pooled[0] / math.sqrt(0.25 * pooled[1] * pooled[2]))
    again = HeldOutGain()
    again.load_state_dict(gain.state_dict())
    assert again == gain


def test_a_rounds_first_step_and_what_is_not_finite_say_nothing():
    gain = HeldOutGain()
    gain.add([1.0, 1.0, 1.0, 1.0], 0.0)
    gain.add([math.nan, 1.0, 1.0, 1.0], 1.0)
    gain.add([1.0, 1.0, math.inf, 1.0], 1.0)
    gain.begin_round()
    assert gain.rounds == [0.0] * 4


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("vocabulary", [2, 40])
def test_a_known_correlation_of_advantage_and_movement_is_found(correlation, vocabulary):
    """Logits move by normal amounts, the sampled token's advantage agrees with its own movement as it is told to."""
    generator = torch.Generator().manual_seed(vocabulary)
    rows, size, distance = 40_000, 0.1, 3.0
    logits = torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    moved = logits + size * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
    old, new = (x.log_softmax(-1).gather(-1, token) for x in (logits, moved))
    change = (new - old).squeeze(1)
    # Per decision: the change of a token has the variance s^2 (1 - p), and so is its advantage given its part.
    undecided = 1 - old.exp().squeeze(1)
    noise = torch.randn(rows, generator=generator, dtype=torch.float64)
    worth = correlation * change / size + math.sqrt(1 - correlation**2) * noise * undecided.sqrt()
    sums = measured(
        log_probs=new,
        old_log_probs=old,
        advantages=worth,
        response_mask=torch.ones(rows, 1, dtype=torch.bool),
        held_out=torch.ones(rows, dtype=torch.bool),
    )
    gain = HeldOutGain()
    gain.add(sums, distance)
    gain.begin_round()
    curvature = (size / distance) ** 2
    expected = (
        correlation * change.square().sum() / size / math.sqrt(undecided.sum() * (undecided * worth**2).sum()) / size
    )
    assert gain.alignment(curvature) == pytest.approx(float(expected), abs=3 / math.sqrt(rows) + 0.02)


@pytest.mark.parametrize("ratio", [1.001, 1 / 1.001])
def test_whole_agreement_is_the_root_of_the_tokens_per_decision(ratio):
    sign = 1.0 if ratio > 1 else -1.0
    whole = batch(ratio, [sign, sign])
    movement = logit_movement(whole["log_probs"], whole["old_log_probs"], whole["response_mask"])
    found, distance = HeldOutGain(), 0.25
    found.add(measured(**whole, held_out=torch.tensor([True, True])), distance)
    curvature = float(movement.numerator / movement.denominator) / distance**2
    assert found.alignment(curvature) == pytest.approx(1 / math.sqrt(0.501), rel=1e-3)
    # With a curvature that is measured on other rows it can be any number.
    assert found.alignment(curvature / 1e4) == pytest.approx(100 / math.sqrt(0.501), rel=1e-3)
    beyond = PRICE * math.sqrt(FURTHEST)
    assert radius(1e-9, 1.0, 100.0) == pytest.approx(radius(1e-9, 1.0, beyond))
    assert radius(1e-9, 1.0, 0.9 * beyond) < 0.9 * radius(1e-9, 1.0, beyond)

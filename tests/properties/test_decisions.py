"""V_d and the movement find the mean square that logits moved by: their number says the same everywhere."""

import math

import pytest
import torch

from r2vpo.core.objectives import RatioVarianceConfig
from r2vpo.core.ratios import anchored_ratios, logit_movement

TOKENS = 20_000


def moved(vocabulary, spread, movement, seed=0, tokens=TOKENS):
    """Log-probs of tokens sampled from random distributions, before and after their logits moved; (1, tokens) each."""
    g = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(tokens, vocabulary, generator=g, dtype=torch.float64)
    after = logits + math.sqrt(movement) * torch.randn(tokens, vocabulary, generator=g, dtype=torch.float64)
    sampled = torch.multinomial(logits.softmax(-1), 1, generator=g)
    old, new = (values.log_softmax(-1).gather(1, sampled).T for values in (logits, after))
    return new, old


def movement(new, old, weight=None):
    return logit_movement(new, old, torch.ones_like(new, dtype=torch.bool), weight)


def decision_variance(new, old, weight=None):
    """V_d; a weight comes from the sampler's log-probs, of which the proximal ones are so many times more likely."""
    mask = torch.ones_like(new, dtype=torch.bool)
    sampled = None if weight is None else old - weight.log()
    options = RatioVarianceConfig(stale_weight_cap=1e30)
    ratios, _ = anchored_ratios(
        log_probs=new, old_log_probs=old, response_mask=mask, rollout_log_probs=sampled, options=options
    )
    return ratios.decision_sums()


MEASURES = pytest.mark.parametrize("measured", [decision_variance, movement])


def standard_error(new, old, measured):
    """Of the ratio of sums, tokens being independent."""
    sums = measured(new, old)
    logs = new - old
    per_token = logs.expm1().square() if measured is decision_variance else 2 * (logs.expm1() - logs)
    apart = per_token - sums.value() * (1.001 - old.exp())
    return float(apart.square().sum().sqrt() / sums.denominator)


@MEASURES
@pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("vocabulary", [2, 12, 200])
def test_it_is_the_mean_square_of_a_small_movement_whatever_the_policy(vocabulary, spread, measured):
    new, old = moved(vocabulary, spread, 0.01)
    # To second order in the movement, 5 % of it beside the noise.
    within = 3 * standard_error(new, old, measured) + 0.05 * 0.01
    assert float(measured(new, old).value()) == pytest.approx(0.01, abs=within)
    # V depends on how certain the policy is, by a factor of ten over these cases.
    plain = float((new - old).expm1().square().mean())
    assert plain == pytest.approx(0.01 * float((1 - old.exp()).mean()), abs=within)


@pytest.mark.parametrize("size", [0.1, 0.5, 1.0])
def test_a_large_movement_makes_the_ratio_log_normal(size):
    new, old = moved(1000, 0.5, size)
    assert math.log1p(float(decision_variance(new, old).value())) == pytest.approx(size, rel=0.1)
    assert float(movement(new, old).value()) == pytest.approx(size, rel=0.05)


def test_the_movement_has_the_lighter_tails():
    """Over samples of 300 tokens whose logits moved by 2: log(1 + V_d) scatters three times as much."""
    found = {measured: [] for measured in (movement, decision_variance)}
    for seed in range(40):
        new, old = moved(200, 0.5, 2.0, seed, tokens=300)
        found[movement].append(float(movement(new, old).value()))
        found[decision_variance].append(math.log1p(float(decision_variance(new, old).value())))
    spread = {measured: float(torch.tensor(values).std()) for measured, values in found.items()}
    assert sum(found[movement]) / 40 == pytest.approx(2.0, rel=0.1)
    assert spread[decision_variance] > 1.5 * spread[movement]


@MEASURES
def test_tokens_that_the_policy_is_certain_of_change_nothing(measured):
    new, old = moved(12, 2.0, 0.04)
    certain = torch.zeros(1, 4 * TOKENS, dtype=torch.float64)
    with_them = measured(torch.cat([new, certain], 1), torch.cat([old, certain], 1))
    assert float(with_them.value()) == pytest.approx(float(measured(new, old).value()), rel=0.01)


@MEASURES
def test_the_length_of_responses_changes_nothing(measured):
    new, old = moved(12, 2.0, 0.04)
    whole = float(measured(new, old).value())
    for length in (1, 4, 1000):
        assert float(measured(new.view(-1, length), old.view(-1, length)).value()) == pytest.approx(whole, rel=1e-12)


@MEASURES
def test_rows_of_an_older_policy_are_weighed_to_the_same(measured):
    """Tokens sampled by another policy and weighted by pi_k / mu stand for those of pi_k."""
    g = torch.Generator().manual_seed(1)
    old = torch.randn(TOKENS, 12, generator=g, dtype=torch.float64).log_softmax(-1)
    mu = (old + 0.3 * torch.randn(TOKENS, 12, generator=g, dtype=torch.float64)).log_softmax(-1)
    new = (old + 0.1 * torch.randn(TOKENS, 12, generator=g, dtype=torch.float64)).log_softmax(-1)
    drawn = torch.multinomial(mu.exp(), 1, generator=g)
    new, old, mu = (values.gather(1, drawn).T for values in (new, old, mu))
    found = float(measured(new, old, (old - mu).exp()).value())
    assert found == pytest.approx(0.01, rel=0.05)


@MEASURES
def test_where_everything_is_certain_nothing_is_divided_by_nothing(measured):
    zeros = torch.zeros(2, 3)
    assert float(measured(zeros, zeros).value()) == 0.0
    assert float(measured(zeros - 1e-6, zeros).value()) == pytest.approx(1e-12 / 0.001, rel=1e-3)

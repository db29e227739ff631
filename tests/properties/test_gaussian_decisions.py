"""Actions of several dimensions from a diagonal Gaussian: V_d and the movement are those of one dimension."""

import math

import pytest
import torch

from r2vpo.core.dual import advantage_moments, closed_form_dual
from r2vpo.core.objectives import RatioVarianceConfig
from r2vpo.core.ratios import anchored_ratios, logit_movement

ACTIONS = 40_000


def moved(dimensions, mean=0.0, log_std=0.0, seed=0):
    """Log-probs of sampled actions, (actions, 1), before and after each dimension's mean and log std moved.

    Args:
        dimensions: Of an action.
        mean: Movement of each dimension's mean, in standard deviations; its sign alternates.
        log_std: Movement of each dimension's log standard deviation.
        seed: Of the actions.
    """
    g = torch.Generator().manual_seed(seed)
    std = torch.linspace(0.1, 3.0, dimensions, dtype=torch.float64)
    centre = torch.linspace(-2.0, 2.0, dimensions, dtype=torch.float64)
    signs = torch.ones(dimensions, dtype=torch.float64)
    signs[1::2] = -1.0
    before = torch.distributions.Normal(centre, std)
    after = torch.distributions.Normal(centre + mean * signs * std, std * math.exp(log_std))
    actions = centre + std * torch.randn(ACTIONS, dimensions, generator=g, dtype=torch.float64)
    return tuple(one.log_prob(actions).sum(1, keepdim=True) for one in (after, before))


def measured(new, old, dimensions):
    """V_d and the movement per decision."""
    mask, decisions = torch.ones_like(new, dtype=torch.bool), torch.full_like(new, float(dimensions))
    ratios, _ = anchored_ratios(
        log_probs=new,
        old_log_probs=old,
        response_mask=mask,
        rollout_log_probs=None,
        options=RatioVarianceConfig(),
        decisions=decisions,
    )
    movement = logit_movement(new, old, mask, None, decisions)
    assert torch.equal(movement.to_tensor(), ratios.movement_sums().to_tensor())
    return float(ratios.decision_sums().value()), float(movement.value())


@pytest.mark.parametrize("dimensions", [1, 3, 17])
@pytest.mark.parametrize(("mean", "log_std"), [(0.05, 0.0), (0.0, 0.03), (0.04, -0.03)])
def test_a_small_movement_is_found_whatever_the_number_of_dimensions(dimensions, mean, log_std):
    variance, movement = measured(*moved(dimensions, mean, log_std), dimensions)
    expected = mean**2 + 2 * log_std**2
    assert variance == pytest.approx(expected, rel=0.12)
    assert movement == pytest.approx(expected, rel=0.12)


def test_dimensions_that_moved_differently_are_averaged():
    both = [torch.cat([one, other]) for one, other in zip(moved(4, 0.1), moved(4, 0.02, seed=1), strict=True)]
    assert measured(*both, 4)[1] == pytest.approx((0.1**2 + 0.02**2) / 2, rel=0.05)


@pytest.mark.parametrize("dimensions", [1, 6])
def test_the_movement_of_a_mean_is_its_square_at_any_size(dimensions):
    assert measured(*moved(dimensions, 0.5), dimensions)[1] == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 1.3])
def test_the_second_moment_is_the_closed_form_below_the_square_root_of_two(factor):
    mean = 0.3
    variance, movement = measured(*moved(1, mean, math.log(factor)), 1)
    twice = 2.0 - factor**2
    second = math.exp(mean**2 / twice) / (factor * math.sqrt(twice))
    # The mean ratio is 1, so the second moment about 1 is E[r^2] - 1.
    assert variance == pytest.approx(second - 1.0, rel=0.15)
    assert movement == pytest.approx(2 * math.log(factor) + (1 + mean**2) / factor**2 - 1, rel=0.1)


def test_beyond_the_square_root_of_two_only_the_movement_is_known():
    """E[r^2] is infinite there: V_d scatters from sample to sample, while the movement is the divergence."""
    factor = 2.0
    found = [measured(*moved(1, 0.0, math.log(factor), seed), 1) for seed in range(8)]
    variances, movements = zip(*found, strict=True)
    assert max(variances) > 3 * min(variances)
    assert max(movements) < 1.5 * min(movements)
    assert sum(movements) / 8 == pytest.approx(2 * math.log(factor) + 1 / factor**2 - 1, rel=0.1)


@pytest.mark.parametrize("dimensions", [1, 8])
def test_the_closed_form_asks_for_the_target_per_dimension(dimensions):
    g = torch.Generator().manual_seed(2)
    advantages = torch.randn(500, generator=g, dtype=torch.float64)
    mask, decisions = torch.ones(500, 1, dtype=torch.bool), torch.full((500, 1), float(dimensions))
    moments = advantage_moments(advantages, mask, torch.zeros(500, 1), decisions=decisions)
    dual = closed_form_dual(float(moments.value()), 0.1)
    best = advantages / (2 * dual)  # r* - 1
    assert float(best.square().mean()) / dimensions == pytest.approx(0.1, rel=1e-6)

"""Truncated GAE: against sums of products, against V-trace's own formula, and in expectation over all actions."""

import itertools

import pytest
import torch

from r2vpo.core.returns import truncated_gae
from tests.tolerances import FLOAT64

GAMMA, LAMBDA = 0.9, 0.7


def trajectories(seed=0, steps=6, environments=3):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    ends = torch.rand(steps, environments, generator=g) < 0.3
    return {
        "rewards": normal(steps, environments),
        "values": normal(steps, environments),
        "next_values": normal(steps, environments),
        "ends": ends,
        "weights": torch.rand(steps, environments, generator=g, dtype=torch.float64),
    }


def products(b, gamma, gae_lambda):
    """`A_t = sum_(s >= t) (gamma lambda)^(s - t) (c_(t+1) ... c_s) delta_s`, up to the episode's end."""
    delta = b["rewards"] + gamma * b["next_values"] - b["values"]
    advantages = torch.zeros_like(delta)
    steps, environments = delta.shape
    for t, e in itertools.product(range(steps), range(environments)):
        factor = 1.0
        for s in range(t, steps):
            if s > t:
                factor *= gamma * gae_lambda * float(b["weights"][s, e])
            advantages[t, e] += factor * delta[s, e]
            if b["ends"][s, e]:
                break
    return advantages


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_sum_of_products(seed):
    b = trajectories(seed)
    assert b["ends"].any() and not b["ends"].all()
    advantages, targets = truncated_gae(**b, gamma=GAMMA, gae_lambda=LAMBDA)
    expected = products(b, GAMMA, LAMBDA)
    torch.testing.assert_close(advantages, expected, **FLOAT64)
    torch.testing.assert_close(targets, b["values"] + b["weights"] * expected, **FLOAT64)


def test_without_weights_it_is_gae():
    b = trajectories(1)
    ones = truncated_gae(**{**b, "weights": torch.ones_like(b["weights"])}, gamma=GAMMA, gae_lambda=LAMBDA)
    none = truncated_gae(**{**b, "weights": None}, gamma=GAMMA, gae_lambda=LAMBDA)
    for mine, plain in zip(none, ones, strict=True):
        torch.testing.assert_close(mine, plain, **FLOAT64)
    torch.testing.assert_close(none[1], none[0] + b["values"], **FLOAT64)


def test_the_targets_are_those_of_v_trace():
    """IMPALA, eq. 1: `v_s = V_s + sum_t gamma^(t - s) (c_s ... c_(t-1)) rho_t delta_t`, `c_i = lambda rho_i`."""
    b = trajectories(2)
    b["ends"] = torch.zeros_like(b["ends"])
    b["next_values"][:-1] = b["values"][1:]
    targets = truncated_gae(**b, gamma=GAMMA, gae_lambda=LAMBDA)[1]
    delta = b["rewards"] + GAMMA * b["next_values"] - b["values"]
    steps, environments = delta.shape
    for s, e in itertools.product(range(steps), range(environments)):
        value, traces = b["values"][s, e].clone(), 1.0
        for t in range(s, steps):
            value += GAMMA ** (t - s) * traces * b["weights"][t, e] * delta[t, e]
            traces *= LAMBDA * float(b["weights"][t, e])
        assert float(targets[s, e]) == pytest.approx(float(value), rel=1e-10)
    # The advantage that the same targets give, of which IMPALA's has no lambda before the next step's trace.
    advantages = truncated_gae(**b, gamma=GAMMA, gae_lambda=1.0)
    ahead = torch.cat((advantages[1][1:], b["next_values"][-1:]))
    torch.testing.assert_close(advantages[0], b["rewards"] + GAMMA * ahead - b["values"], **FLOAT64)


def test_in_expectation_the_older_policys_actions_stand_for_the_present_ones():
    """Over all sequences of three binary actions: untruncated weights turn `E_mu[A_0 | a_0]` into that under pi."""
    g = torch.Generator().manual_seed(3)
    pi, mu = (torch.rand(3, generator=g, dtype=torch.float64) for _ in range(2))
    # What is earned, and the value of the state, after one, two and three actions.
    reward, value = ([torch.randn(*[2] * n, generator=g, dtype=torch.float64) for n in (1, 2, 3)] for _ in range(2))

    def expected(policy, first, weighted):
        total = 0.0
        for second, third in itertools.product((0, 1), repeat=2):
            actions = torch.tensor([first, second, third])
            chosen = [torch.where(actions == 1, one, 1 - one) for one in (pi, mu)]
            probability = torch.where(actions == 1, policy, 1 - policy)[1:].prod()
            before = (first,), (first, second), (first, second, third)
            earned, after = (
                torch.stack([table[n][past] for n, past in enumerate(before)]) for table in (reward, value)
            )
            advantages, _ = truncated_gae(
                rewards=earned[:, None],
                values=torch.cat((torch.tensor([0.3]), after[:2]))[:, None],
                next_values=after[:, None],
                ends=torch.zeros(3, 1, dtype=torch.bool),
                gamma=GAMMA,
                gae_lambda=LAMBDA,
                weights=(chosen[0] / chosen[1])[:, None] if weighted else None,
            )
            total += float(probability * advantages[0, 0])
        return total

    for first in (0, 1):
        assert expected(mu, first, weighted=True) == pytest.approx(expected(pi, first, weighted=False), rel=1e-10)
        assert expected(mu, first, weighted=False) != pytest.approx(expected(pi, first, weighted=False), rel=1e-3)


def test_no_gradient_flows():
    b = trajectories(4)
    inputs = [b[name].requires_grad_() for name in ("rewards", "values", "next_values", "weights")]
    assert all(one.requires_grad for one in inputs)
    assert not any(one.requires_grad for one in truncated_gae(**b, gamma=GAMMA, gae_lambda=LAMBDA))

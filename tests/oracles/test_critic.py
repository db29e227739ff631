"""A critic's advantages, targets, normalisation and loss against plain Python; and every bug is noticed."""

import pytest
import torch

from r2vpo.core.critic.loss import value_loss
from r2vpo.core.critic.normalization import normalized, token_moments
from r2vpo.core.returns import response_gae
from tests.oracles import critic as oracle
from tests.oracles.batches import batch
from tests.oracles.cases import AGGREGATIONS
from tests.tolerances import FLOAT64

GAMMA, LAMBDA = 0.9, 0.7


def responses(seed=0):
    """Rows of several lengths with holes, among them one without tokens, and weights of which some are 1."""
    b = batch(seed=seed, rows=6, width=9)
    g = torch.Generator().manual_seed(seed + 100)
    weights = (1.5 * torch.rand(6, 9, generator=g, dtype=torch.float64)).clamp(max=1.0)
    values, old, targets = (torch.randn(6, 9, generator=g, dtype=torch.float64) for _ in range(3))
    rewards = torch.randn(6, generator=g, dtype=torch.float64)
    mask = b["response_mask"]
    assert any("0 1" in " ".join(map(str, row.long().tolist())).strip("0 ") for row in mask), "holes in the middle"
    return {"rewards": rewards, "values": values, "mask": mask, "weights": weights, "old": old, "targets": targets}


def loops(b, gamma=GAMMA, gae_lambda=LAMBDA, weights=True, bug=None):
    found = oracle.gae(
        b["rewards"].tolist(), b["values"].tolist(), b["mask"].tolist(), gamma, gae_lambda,
        b["weights"].tolist() if weights else None, bug,
    )  # fmt: skip
    return [torch.tensor(one, dtype=torch.float64) for one in found]


def package(b, gamma=GAMMA, gae_lambda=LAMBDA, weights=True):
    return response_gae(
        rewards=b["rewards"], values=b["values"], response_mask=b["mask"], gamma=gamma, gae_lambda=gae_lambda,
        weights=b["weights"] if weights else None,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(GAMMA, LAMBDA), (1.0, 0.95), (1.0, 1.0), (0.5, 0.0)])
def test_advantages_and_targets(seed, weights, gamma, gae_lambda):
    b = responses(seed)
    for mine, expected in zip(
        package(b, gamma, gae_lambda, weights), loops(b, gamma, gae_lambda, weights), strict=True
    ):
        torch.testing.assert_close(mine, expected, **FLOAT64)


@pytest.mark.parametrize("bug", ["tools_trained", "no_weights", "own_weight", "untraced_target"])
def test_each_bug_of_the_advantages_is_noticed(bug):
    b = responses()
    mine, broken = package(b), loops(b, bug=bug)
    kept = b["mask"]
    assert any(not torch.allclose(one[kept], other[kept]) for one, other in zip(mine, broken, strict=True))


@pytest.mark.parametrize("parts", [[6], [2, 4], [1, 1, 4]])
def test_the_normalisation_is_that_of_all_parts(parts):
    b = responses(1)
    advantages, mask = package(b)[0], b["mask"]
    split = list(zip(advantages.split(parts), mask.split(parts), strict=True))
    mean, variance = token_moments([(one[None], kept) for one, kept in split], lambda tensor: tensor)
    mine = torch.cat([normalized(one, kept, mean[0], variance[0]) for one, kept in split])
    expected = torch.tensor(oracle.normalized(advantages.tolist(), mask.tolist()), dtype=torch.float64)
    torch.testing.assert_close(mine, expected, **FLOAT64)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clip", [None, 0.2, 0.5])
@pytest.mark.parametrize(("aggregation", "constant"), AGGREGATIONS)
@pytest.mark.parametrize("normalizer", [None, 17.0])
def test_the_value_loss(seed, clip, aggregation, constant, normalizer):
    b = responses(seed)
    values = b["values"].clone().requires_grad_()
    found = value_loss(
        values=values, old_values=b["old"], targets=b["targets"], response_mask=b["mask"], clip=clip,
        aggregation=aggregation, normalizer=normalizer, constant=constant,
    )  # fmt: skip
    lists = [b[name].tolist() for name in ("values", "old", "targets", "mask")]
    expected, gradient, clipped = oracle.value_loss(*lists, clip, aggregation, constant, normalizer)
    torch.testing.assert_close(found.loss.detach(), torch.tensor(expected, dtype=torch.float64), **FLOAT64)
    (mine,) = torch.autograd.grad(found.loss, values)
    torch.testing.assert_close(mine, torch.tensor(gradient, dtype=torch.float64), **FLOAT64)
    assert int(found.clipped) == clipped and (clipped > 0) == (clip is not None)
    for bug in ("not_half", "smaller_loss") if clip is not None else ("not_half",):
        broken = oracle.value_loss(*lists, clip, aggregation, constant, normalizer, bug)[0]
        assert abs(broken - expected) > 1e-3

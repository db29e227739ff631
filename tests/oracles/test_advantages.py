"""Advantages against plain Python, groups in any order."""

import pytest
import torch

from r2vpo.core import advantages as package
from tests.oracles import advantages as oracle
from tests.tolerances import FLOAT64


def rewards_and_ids(seed, ordered):
    g = torch.Generator().manual_seed(seed)
    rewards = torch.randn(24, generator=g, dtype=torch.float64)
    ids = torch.arange(24) // 4
    if not ordered:
        ids = torch.randint(0, 5, (24,), generator=g) * 7 - 3
        ids[0] = 1000  # a group of one
    return rewards, ids


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "reinforce_pp"])
def test_estimators(name, seed, ordered):
    rewards, ids = rewards_and_ids(seed, ordered)
    loops = {
        "grpo": oracle.grpo,
        "dr_grpo": lambda r, i: oracle.grpo(r, i, divide=False),
        "rloo": oracle.rloo,
        "reinforce_pp": lambda r, i: oracle.grpo(r, [0] * len(r)),
    }
    expected = torch.tensor(loops[name](rewards.tolist(), ids.tolist()), dtype=torch.float64)
    estimate = package.ADVANTAGES[name]
    torch.testing.assert_close(estimate(rewards, group_ids=ids), expected, **FLOAT64)
    if ordered:
        torch.testing.assert_close(estimate(rewards, group_size=4), expected, **FLOAT64)
        if name != "reinforce_pp":  # the wrong groups are noticed, where groups matter
            assert not torch.allclose(estimate(rewards, group_size=2), expected)

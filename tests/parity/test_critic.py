"""A critic's advantages, targets and loss against the functions of OpenRLHF and verl, run out of their wheels."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from r2vpo.core.critic.loss import value_loss
from r2vpo.core.critic.normalization import normalized, token_moments
from r2vpo.core.returns import response_gae
from tests.parity.installed import definitions
from tests.tolerances import FLOAT32, FLOAT64

OPENRLHF, VERL = ("openrlhf", "0.11.2"), ("verl", "0.9.1")
SETTINGS = [(1.0, 1.0), (1.0, 0.95), (0.9, 0.8)]


def case(seed: int, *, holes: bool, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Responses of several lengths; with holes, also tokens in the middle that are not trained on."""
    g = torch.Generator().manual_seed(seed)
    rows, width = 5, 8
    mask = torch.arange(width) < torch.tensor([8, 1, 5, 7, 3])[:, None]
    if holes:
        mask[0, 2:5], mask[3, :2] = False, False
    values, old, targets = (torch.randn(rows, width, generator=g, dtype=torch.float64).to(dtype) for _ in range(3))
    rewards = torch.randn(rows, generator=g, dtype=torch.float64).to(dtype)
    return {"mask": mask, "values": values, "old": old, "targets": targets, "rewards": rewards}


def at_the_end(rewards: Tensor, mask: Tensor) -> Tensor:
    """Their rewards per token: the response's at its last trained token."""
    places = torch.arange(mask.shape[1])
    last = torch.where(mask, places, -1).amax(dim=1, keepdim=True)
    return torch.where(places == last, rewards[:, None], 0.0)


def ours(b: dict[str, Tensor], gamma: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
    return response_gae(
        rewards=b["rewards"], values=b["values"], response_mask=b["mask"], gamma=gamma, gae_lambda=gae_lambda
    )


def moments(advantages: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    mean, variance = token_moments([(advantages[None], mask)], lambda tensor: tensor)
    return mean[0], variance[0]


def loss_and_gradient(values: Tensor, loss: Any) -> tuple[Tensor, Tensor]:
    values = values.clone().requires_grad_()
    found = loss(values)
    return found.detach(), torch.autograd.grad(found, values)[0]


def our_loss(b: dict[str, Tensor], clip: float | None, aggregation: str = "token_mean") -> tuple[Tensor, Tensor]:
    def loss(values: Tensor) -> Tensor:
        return value_loss(
            values=values, old_values=b["old"], targets=b["targets"], response_mask=b["mask"], clip=clip,
            aggregation=aggregation,
        ).loss  # fmt: skip

    return loss_and_gradient(b["values"], loss)


@pytest.fixture(scope="module")
def openrlhf() -> dict[str, Any]:
    found = definitions(
        *OPENRLHF, "openrlhf/trainer/ppo_utils/experience_maker.py", ["RemoteExperienceMaker"], torch=torch,
        itertools=itertools, apply_length_penalties=lambda experiences, args: None,
        # Its own also subtracts a divergence, which is 0 here, and comes from a module with more imports.
        compute_reward=lambda reward, *divergence, action_mask, reward_clip_range: at_the_end(reward, action_mask),
    )  # fmt: skip
    utils = definitions(*OPENRLHF, "openrlhf/models/utils.py", ["masked_mean"], torch=torch)
    losses = definitions(*OPENRLHF, "openrlhf/models/loss.py", ["ValueLoss", "aggregate_loss"], nn=torch.nn, **utils)
    return found | losses


@pytest.fixture(scope="module")
def verl() -> dict[str, Any]:
    tensors = SimpleNamespace(
        **definitions(
            *VERL,
            "verl/utils/torch_functional.py",
            ["masked_mean", "masked_var", "masked_whiten", "masked_sum", "clip_by_value"],
            torch=torch,
        )
    )
    names = ["compute_gae_advantage_return", "compute_value_loss", "agg_loss"]
    return definitions(*VERL, "verl/trainer/ppo/core_algos.py", names, torch=torch, verl_F=tensors)


@pytest.mark.parametrize(("gamma", "gae_lambda"), SETTINGS)
@pytest.mark.parametrize("seed", [1, 2])
def test_openrlhfs_advantages(openrlhf: dict[str, Any], seed: int, gamma: float, gae_lambda: float) -> None:
    b = case(seed, holes=False)
    maker = openrlhf["RemoteExperienceMaker"]
    theirs = maker.get_advantages_and_returns(
        None, b["values"], at_the_end(b["rewards"], b["mask"]), b["mask"], gamma, gae_lambda
    )
    for mine, expected in zip(ours(b, gamma, gae_lambda), theirs, strict=True):
        torch.testing.assert_close(mine[b["mask"]], expected[b["mask"]], **FLOAT64)


def test_openrlhfs_normalisation(openrlhf: dict[str, Any]) -> None:
    """Of two experiences: as ours of two micro-batches, with its mean and variance over all of them."""
    parts = [case(seed, holes=False, dtype=torch.float32) for seed in (3, 4)]
    maker = openrlhf["RemoteExperienceMaker"]
    advantage = SimpleNamespace(estimator="gae", gamma=1.0, lambd=0.95, no_std_norm=False)
    args = SimpleNamespace(
        algo=SimpleNamespace(advantage=advantage), reward=SimpleNamespace(clip_range=None),
        rollout=SimpleNamespace(n_samples_per_prompt=1),
    )  # fmt: skip
    host = SimpleNamespace(
        strategy=SimpleNamespace(args=args), advantage_estimator="gae", kl_ctl=SimpleNamespace(value=0.0),
        get_advantages_and_returns=lambda *given: maker.get_advantages_and_returns(None, *given),
    )  # fmt: skip
    experiences = [
        SimpleNamespace(
            rewards=b["rewards"], values=b["values"], action_mask=b["mask"], kl=None, info={},
            index=list(range(5 * place, 5 * place + 5)),
        )
        for place, b in enumerate(parts)
    ]  # fmt: skip
    theirs = [one.advantages for one in maker.compute_advantages_and_returns(host, experiences)]
    raw = [(ours(b, 1.0, 0.95)[0], b["mask"]) for b in parts]
    mean, variance = token_moments([(one[None], mask) for one, mask in raw], lambda tensor: tensor)
    for (one, mask), expected in zip(raw, theirs, strict=True):
        torch.testing.assert_close(normalized(one, mask, mean[0], variance[0])[mask], expected[mask], **FLOAT32)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize(("per_token", "aggregation"), [(True, "token_mean"), (False, "sequence_mean")])
def test_openrlhfs_value_loss(openrlhf: dict[str, Any], clip: float | None, per_token: bool, aggregation: str) -> None:
    b = case(5, holes=True)
    loss = openrlhf["ValueLoss"](clip, token_level_loss=per_token)
    theirs = loss_and_gradient(b["values"], lambda values: loss(values, b["old"], b["targets"], b["mask"]))
    for mine, expected in zip(our_loss(b, clip, aggregation), theirs, strict=True):
        torch.testing.assert_close(mine, expected, **FLOAT64)


@pytest.mark.parametrize(("gamma", "gae_lambda"), SETTINGS)
@pytest.mark.parametrize("holes", [True, False])
def test_verls_advantages(verl: dict[str, Any], holes: bool, gamma: float, gae_lambda: float) -> None:
    """Its advantages are normalised with the unbiased variance plus 1e-8, ours with the variance."""
    b = case(6, holes=holes)
    mask = b["mask"]
    advantages, targets = verl["compute_gae_advantage_return"](
        at_the_end(b["rewards"], b["mask"]), b["values"], mask.double(), gamma, gae_lambda
    )
    raw, mine = ours(b, gamma, gae_lambda)
    torch.testing.assert_close(mine[mask], targets[mask], **FLOAT64)
    mean, variance = moments(raw, mask)
    tokens = float(mask.sum())
    rescaled = (variance / (variance * tokens / (tokens - 1) + 1e-8)).sqrt()
    tolerance = {"rtol": 1e-7, "atol": 1e-7}  # its masked means divide by the number of tokens plus 1e-8
    torch.testing.assert_close(normalized(raw, mask, mean, variance)[mask] * rescaled, advantages[mask], **tolerance)


@pytest.mark.parametrize("clip", [0.2, 0.5])
@pytest.mark.parametrize(
    ("theirs", "aggregation"), [("token-mean", "token_mean"), ("seq-mean-token-mean", "sequence_mean")]
)
def test_verls_value_loss(verl: dict[str, Any], clip: float, theirs: str, aggregation: str) -> None:
    b = case(7, holes=True)

    def loss(values: Tensor) -> Tensor:
        found: Tensor = verl["compute_value_loss"](values, b["targets"], b["old"], b["mask"].double(), clip, theirs)[0]
        return found

    tolerance = FLOAT64 if theirs == "token-mean" else {"rtol": 1e-7, "atol": 1e-7}  # 1e-8 in its denominator
    for mine, expected in zip(our_loss(b, clip, aggregation), loss_and_gradient(b["values"], loss), strict=True):
        torch.testing.assert_close(mine, expected, **tolerance)

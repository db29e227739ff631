"""The braked gradient of preference losses against loops over tokens in float64; and every bug is noticed."""

import itertools

import pytest
import torch
from torch.nn.functional import logsigmoid

from r2vpo.core.preferences import chi_po_scores, given_decisions, held_back, loss_advantages
from tests.oracles import preferences as oracle
from tests.tolerances import FLOAT64

BETA, REWARD_BOUND, PAIRS, WIDTH = 0.6, 0.5, 5, 7
LINKS = ("kl", "chi_square", "chi_po")
BRAKES = ("outward", "two_sided")
BUGS = {
    "rejected raised": "any",
    "slope of the link left out": "chi_square",
    "slope of the other side": "chi_po",
    "margin not clipped": "chi_po",
    "log in place of the ratio": "any",
    "half the brake": "any",
    "the sign of A ignored": "outward",
    "brakes both ways": "outward",
    "drawn back beyond r*": "outward",
    "not a mean": "any",
    "A of the mean": "any",
}


def batch(seed=0):
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    old = -normal(2 * PAIRS, WIDTH).abs() - 0.1
    mask = torch.rand(2 * PAIRS, WIDTH, generator=g) < 0.75
    mask[:, 0] = True
    log_probs = old + 0.4 * normal(2 * PAIRS, WIDTH)
    # Some token has hardly moved, and some has moved further than the clamp allows.
    log_probs[0, 0], log_probs[1, 0] = old[0, 0] + 1e-9, old[1, 0] - 25.0
    reference = (old * mask).sum(dim=1) + 0.5 * normal(2 * PAIRS)
    reference[1] -= 25.0
    return {"log_probs": log_probs, "old_log_probs": old, "mask": mask, "reference": reference}


def scores(link, log_ratios):
    sides = log_ratios.chunk(2)
    if link == "chi_po":
        return chi_po_scores(*sides, beta=BETA, reward_bound=REWARD_BOUND)
    return [side.expm1() if link == "chi_square" else side for side in sides]


def loss_of(link, log_probs, b):
    chosen, rejected = scores(link, torch.where(b["mask"], log_probs, 0.0).sum(dim=1) - b["reference"])
    return -logsigmoid(BETA * (chosen - rejected)).mean()


def package(link, b, dual, brake):
    leaf = b["log_probs"].clone().requires_grad_()
    held = held_back(leaf, b["old_log_probs"], b["mask"], dual=dual, scale=float(PAIRS), brake=brake)
    assert torch.equal(held, leaf)
    loss = loss_of(link, held, b)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient, loss.detach()


def compare(link, b, dual, brake, bug=None):
    lists = {name: value.tolist() for name, value in b.items()}
    expected, loss = oracle.gradient(link, lists, beta=BETA, reward_bound=REWARD_BOUND, dual=dual, brake=brake, bug=bug)
    found, found_loss = package(link, b, dual, brake)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), **FLOAT64)
    torch.testing.assert_close(found_loss, torch.tensor(loss, dtype=torch.float64), **FLOAT64)


@pytest.mark.parametrize(("link", "brake"), itertools.product(LINKS, BRAKES))
@pytest.mark.parametrize("dual", [0.0, 0.05, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_braked_gradient(link, brake, dual, seed):
    compare(link, batch(seed), dual, brake)


@pytest.mark.parametrize(("bug", "where"), BUGS.items())
def test_a_wrong_gradient_is_noticed(bug, where):
    link = where if where in LINKS else "kl"
    for brake in [where] if where in BRAKES else BRAKES:
        with pytest.raises(AssertionError):
            compare(link, batch(0), 0.1, brake, bug)


@pytest.mark.parametrize("link", LINKS)
def test_without_a_multiplier_every_bit_is_the_gradient_of_the_loss(link):
    b = batch(1)
    for brake, dtype in itertools.product(BRAKES, (torch.float32, torch.float64)):
        leaf = b["log_probs"].to(dtype).requires_grad_()
        (plain,) = torch.autograd.grad(loss_of(link, leaf, b), leaf)
        held = held_back(leaf, b["old_log_probs"].to(dtype), b["mask"], dual=0.0, scale=3.0, brake=brake)
        (braked,) = torch.autograd.grad(loss_of(link, held, b), leaf)
        assert torch.equal(braked, plain)


@pytest.mark.parametrize("link", LINKS)
def test_the_advantages_are_those_of_single_pairs(link):
    b = batch(2)
    leaf = b["log_probs"].clone().requires_grad_()
    found = loss_advantages(loss_of(link, leaf, b), leaf, b["mask"], PAIRS)
    whole = (b["log_probs"] * b["mask"]).sum(dim=1) - b["reference"]
    sides = [side.tolist() for side in whole.chunk(2)]
    asked, _ = oracle.advantages(link, list(zip(*sides, strict=True)), BETA, REWARD_BOUND)
    for row in range(2 * PAIRS):
        expected = b["mask"][row].double() * asked[row % PAIRS][row // PAIRS]
        torch.testing.assert_close(found[row], expected, **FLOAT64)


@pytest.mark.parametrize(("brake", "A"), itertools.product(BRAKES, (0.7, -0.7, -0.1, 0.0)))
def test_the_field_is_the_gradient_of_the_lagrangian(brake, A):
    """With A fixed: finite differences of the Lagrangian in log form, and of its outward form."""
    dual, step = 0.3, 1e-6
    for x in (-2.0, -0.6, -0.1, 0.05, 0.3, 1.5):
        leaf = torch.full((1, 1), x, dtype=torch.float64, requires_grad=True)
        zero, mask = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool)
        held = held_back(leaf, zero, mask, dual=dual, scale=4.0, brake=brake)
        (gradient,) = torch.autograd.grad(-(A / 4.0) * held.sum(), leaf)
        apart = oracle.lagrangian(A, x + step, dual, brake) - oracle.lagrangian(A, x - step, dual, brake)
        assert -4.0 * float(gradient) == pytest.approx(apart / (2 * step), abs=1e-8)


def test_decisions_of_given_tokens_are_the_mean_squares_of_their_log_ratios():
    g = torch.Generator().manual_seed(5)
    logs = (2 * torch.randn(6, 9, generator=g, dtype=torch.float64)).log_softmax(-1)
    squares = (2 * logs).exp().sum(-1, keepdim=True).log().expand_as(logs)
    found = given_decisions(logs, squares, torch.ones_like(logs, dtype=torch.bool))
    for row in range(6):
        p = logs[row].exp().tolist()
        for v in range(9):
            # The log-ratio of v is d_v - sum_u p_u d_u, and the movements d are independent and of variance 1.
            weights = [(1.0 if u == v else 0.0) - p[u] for u in range(9)]
            assert float(found[row, v]) == pytest.approx(sum(one * one for one in weights) + 0.001, abs=1e-12)


def test_chi_po_has_the_derivative_of_its_scores():
    x = torch.tensor([-3.0, -0.2, 0.1, 0.3], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([-2.9, 0.1, -0.2, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, c: chi_po_scores(a, c, beta=0.1, reward_bound=5.0), (x, y))

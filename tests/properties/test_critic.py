"""What may not change a critic's advantages and loss, and what they are in the limits of gamma and lambda."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r2vpo.core.critic.loss import value_loss
from r2vpo.core.returns import response_gae
from tests.oracles.batches import batch
from tests.tolerances import FLOAT64

GARBAGE = [float("nan"), float("inf"), -float("inf"), 1e30, 0.0]


@st.composite
def responses(draw):
    rows, width = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    seed = draw(st.integers(0, 10**6))
    g = torch.Generator().manual_seed(seed)
    named = {name: torch.randn(rows, width, generator=g, dtype=torch.float64) for name in ("values", "old", "targets")}
    return {
        **named,
        "weights": torch.rand(rows, width, generator=g, dtype=torch.float64),
        "rewards": torch.randn(rows, generator=g, dtype=torch.float64),
        "mask": batch(seed=seed, rows=rows, width=width)["response_mask"],
    }


def advantages(b, gamma=0.9, gae_lambda=0.8):
    return response_gae(
        rewards=b["rewards"], values=b["values"], response_mask=b["mask"], gamma=gamma, gae_lambda=gae_lambda,
        weights=b["weights"],
    )  # fmt: skip


def loss(b, normalizer=None, rows=slice(None)):
    values = b["values"].clone().requires_grad_()
    found = value_loss(
        values=values[rows], old_values=b["old"][rows], targets=b["targets"][rows], response_mask=b["mask"][rows],
        clip=0.3, normalizer=normalizer,
    )  # fmt: skip
    return found.loss.detach(), torch.autograd.grad(found.loss, values)[0]


@settings(max_examples=100, deadline=None)
@given(responses(), st.integers(0, 3), st.data())
def test_padding_and_what_it_holds_change_nothing(b, columns, data):
    width = b["mask"].shape[1]
    mask = torch.nn.functional.pad(b["mask"], (0, columns))
    wide = dict(b, mask=mask)
    for name in ("values", "old", "targets", "weights"):
        padded = torch.nn.functional.pad(b[name], (0, columns))
        wide[name] = torch.where(mask, padded, data.draw(st.sampled_from(GARBAGE)))
    for before, after in zip(advantages(b), advantages(wide), strict=True):
        torch.testing.assert_close(after[:, :width], before, **FLOAT64)
        assert (after[~mask] == 0).all()
    (value, gradient), (padded_value, padded_gradient) = loss(b), loss(wide)
    torch.testing.assert_close(padded_value, value, **FLOAT64)
    torch.testing.assert_close(padded_gradient[:, :width], gradient, **FLOAT64)
    assert (padded_gradient[~mask] == 0).all()


@settings(max_examples=100, deadline=None)
@given(responses(), st.data())
def test_the_losses_of_micro_batches_add_up(b, data):
    cut = data.draw(st.integers(0, len(b["rewards"])))
    count = float(b["mask"].sum().clamp(min=1))
    whole = loss(b)
    for one, first, second in zip(whole, loss(b, count, slice(cut)), loss(b, count, slice(cut, None)), strict=True):
        torch.testing.assert_close(first + second, one, **FLOAT64)


@settings(max_examples=50, deadline=None)
@given(responses())
def test_limits_of_gamma_and_lambda(b):
    mask, reward = b["mask"], b["rewards"][:, None]
    b["weights"] = torch.ones_like(b["weights"])
    worthless = dict(b, values=torch.zeros_like(b["values"]))
    for found in advantages(worthless, 1.0, 1.0):
        torch.testing.assert_close(found, torch.where(mask, reward, 0.0), **FLOAT64)
    # gamma = lambda = 1 is the reward less the value; lambda = 0 is the one-step error.
    torch.testing.assert_close(advantages(b, 1.0, 1.0)[0], torch.where(mask, reward - b["values"], 0.0), **FLOAT64)
    short, targets = advantages(b, 0.5, 0.0)
    for row, kept in enumerate(mask):
        seen = b["values"][row][kept]
        if len(seen):
            ahead = torch.cat((0.5 * seen[1:], b["rewards"][row : row + 1]))
            torch.testing.assert_close(short[row][kept], ahead - seen, **FLOAT64)
            torch.testing.assert_close(targets[row][kept], ahead, **FLOAT64)


@settings(max_examples=50, deadline=None)
@given(responses())
def test_tokens_of_a_tool_are_skipped(b):
    """Taking the masked tokens out, wherever they are, leaves the advantages of the others as they are."""
    found, _ = advantages(b)
    for row, kept in enumerate(b["mask"]):
        if not kept.any():
            continue
        alone = {name: b[name][row : row + 1][:, kept] if b[name].dim() == 2 else b[name][row : row + 1] for name in b}
        torch.testing.assert_close(found[row][kept], advantages(alone)[0][0], **FLOAT64)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rewards": torch.zeros(3)}, r"rewards has shape \(3,\), but must be \(2,\)"),
        ({"values": torch.zeros(2, 4)}, r"values has shape \(2, 4\), but must be \(2, 3\)"),
        ({"weights": torch.zeros(2)}, r"weights has shape \(2,\), but must be \(2, 3\)"),
        (
            {"response_mask": torch.ones(2, 3)},
            r"response_mask is torch.float32 \(2, 3\), but must be \(B, T\) torch.bool",
        ),
    ],
)
def test_shapes_that_do_not_fit(change, why):
    given_ = {"rewards": torch.zeros(2), "values": torch.zeros(2, 3), "weights": torch.ones(2, 3)}
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=why):
        response_gae(**({**given_, "response_mask": mask} | change), gamma=1.0, gae_lambda=1.0)
    if "values" in change:
        with pytest.raises(ValueError, match=r"old_values has shape \(2, 3\), but values has \(2, 4\)"):
            value_loss(values=change["values"], old_values=mask, targets=mask, response_mask=mask)

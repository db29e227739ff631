"""Analytic gradients against finite differences (gradcheck), in float64 and off the kinks of clipping."""

import pytest
import torch

from r2vpo.core.objectives import ClipConfig, RatioVarianceConfig, clip_loss, r2vpo_loss

LOSSES = {"r2vpo": (r2vpo_loss, RatioVarianceConfig), "clip": (clip_loss, ClipConfig)}
KINKS = (0.8, 1.2)


def inputs(level):
    """Log-ratios whose ratios (and whose responses' mean ratios) stay at least 0.02 off the clip bounds."""
    token = torch.tensor([-0.5, -0.15, -0.02, 0.03, 0.12, 0.4], dtype=torch.float64)
    shift = torch.tensor([0.0, 0.35, -0.4, 0.05], dtype=torch.float64)
    log_ratio = token.roll(1).repeat(4, 1) if level == "token" else 0.1 * token.repeat(4, 1) + shift[:, None]
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[1, 4:], mask[2, :2], mask[3, 1] = False, False, False
    ratios = log_ratio.exp() if level == "token" else _response_ratio(log_ratio, mask)
    assert min((ratios - kink).abs().min() for kink in KINKS) > 0.02
    old = -torch.linspace(0.2, 3.0, 24, dtype=torch.float64).reshape(4, 6)
    return old + log_ratio, old, mask


def _response_ratio(log_ratio, mask):
    return (torch.where(mask, log_ratio, 0.0).sum(1) / mask.sum(1)).exp()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("level", ["token", "response"])
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_gradcheck(name, level, anchor, aggregation):
    log_probs, old, mask = inputs(level)
    loss, kind = LOSSES[name]
    config = kind(
        level=level,
        anchor=anchor,
        aggregation=aggregation,
        constant=6.0 if aggregation == "constant" else None,
    )
    # Under "behavior" the ratio is to the sampler, so the same distances are kept from it.
    rollout = old.clone() if anchor == "behavior" else old + torch.linspace(-1, 1, 24, dtype=torch.float64).view(4, 6)
    advantages = torch.tensor([1.3, -0.8, 0.4, -1.6], dtype=torch.float64)

    def scalar(x):
        return loss(
            log_probs=x, old_log_probs=old, advantages=advantages, response_mask=mask, dual=1.1,
            rollout_log_probs=rollout, config=config,
        ).loss  # fmt: skip

    assert torch.autograd.gradcheck(scalar, log_probs.requires_grad_(), eps=1e-6, atol=1e-8)


def test_gradcheck_of_the_dual_clip():
    log_probs, old, mask = inputs("token")
    config = ClipConfig(dual_clip=1.35)  # between the ratios 1.13 and 1.49
    advantages = torch.tensor([1.3, -0.8, 0.4, -1.6], dtype=torch.float64)

    def scalar(x):
        return clip_loss(log_probs=x, old_log_probs=old, advantages=advantages, response_mask=mask, config=config).loss

    assert torch.autograd.gradcheck(scalar, log_probs.requires_grad_(), eps=1e-6, atol=1e-8)
    (gradient,) = torch.autograd.grad(scalar(log_probs), log_probs)
    cut = mask & (advantages[:, None] < 0) & ((log_probs - old).exp() > 1.35)
    assert cut.any() and (gradient[cut] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_flows_into_log_probs_alone(name):
    log_probs, old, mask = inputs("token")
    rollout, advantages = old + 0.1, torch.ones(4, 6, dtype=torch.float64)
    dual = torch.tensor(1.0, dtype=torch.float64)
    others = [old, rollout, advantages, dual]
    for tensor in [log_probs, *others]:
        tensor.requires_grad_()
    out = LOSSES[name][0](
        log_probs=log_probs, old_log_probs=old, advantages=advantages, response_mask=mask, dual=dual,
        rollout_log_probs=rollout,
    )  # fmt: skip
    gradients = torch.autograd.grad(out.loss, [log_probs, *others], allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert all(gradient is None for gradient in gradients[1:])
    sums = [out.ratio_variance.numerator, out.ratio_variance.denominator]
    assert not any(tensor.requires_grad for tensor in [*out.metrics.values(), *sums])

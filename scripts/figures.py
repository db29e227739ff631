"""Draw the figures of docs/learn/method.md from computations with the package itself: `python scripts/figures.py`.

They take seconds; tests/docs/test_figures.py checks what the page says about them.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from r2vpo.core.objectives import OBJECTIVES, ClipConfig, RatioVarianceConfig, clip_loss, r2vpo_loss
from r2vpo.core.ratios import decisions, logit_movement
from r2vpo.core.step_size import StepSizeController

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images" / "learn"
COLOURS = {"r2vpo": "#1b6ca8", "two_sided": "#7a5195", "clip": "#c44536", "policy_gradient": "#8a8f98"}
LAMBDA = 2.0


def gradients(advantage: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return ratios of a token, and the gradient of the objective in its log-probability under four losses."""
    ratio = torch.linspace(0.5, 1.6, 221, dtype=torch.float64)
    losses = {
        "r2vpo": (r2vpo_loss, RatioVarianceConfig()),
        "two_sided": (r2vpo_loss, RatioVarianceConfig(brake="two_sided")),
        "clip": (clip_loss, ClipConfig()),
        "policy_gradient": (OBJECTIVES["policy_gradient"].loss, OBJECTIVES["policy_gradient"].config_class()),
    }
    found = {}
    for name, (loss, config) in losses.items():
        old = torch.full((len(ratio), 1), -1.0, dtype=torch.float64)
        new = (old + ratio.log()[:, None]).requires_grad_()
        output = loss(
            log_probs=new,
            old_log_probs=old,
            advantages=torch.full((len(ratio),), advantage, dtype=torch.float64),
            response_mask=torch.ones(len(ratio), 1, dtype=torch.bool),
            dual=LAMBDA,
            normalizer=1.0,
            config=config,
        )
        output.loss.backward()
        found[name] = -new.grad[:, 0]
    return ratio, found


def variances(moved: float, certain: float, seed: int = 0) -> tuple[float, float]:
    """Return V and V_d of tokens whose logits move by normal amounts of standard deviation `moved`.

    A share `certain` of the tokens is drawn from a distribution with one likely token, the others from an even one.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(20_000, 50, generator=generator)
    logits[: int(certain * len(logits)), 0] += 12.0
    before = logits.log_softmax(-1)
    after = (logits + moved * torch.randn(logits.shape, generator=generator)).log_softmax(-1)
    token = before.exp().multinomial(1, generator=generator)
    old, new = before.gather(1, token), after.gather(1, token)
    squared = (new - old).expm1().square()
    return squared.mean().item(), (squared.sum() / decisions(old, torch.ones_like(old, dtype=torch.bool)).sum()).item()


def draw_gradients() -> Figure:
    """Draw the gradient of a good and of a bad token against its ratio."""
    figure = _figure()
    labels = {
        "policy_gradient": "policy gradient: no limit",
        "clip": "clipping at 0.8 and 1.2",
        "two_sided": "R²VPO, two-sided brake",
        "r2vpo": "R²VPO, outward brake (default)",
    }
    for axes, advantage in zip(figure.subplots(1, 2), (1.0, -1.0), strict=True):
        ratio, found = gradients(advantage)
        for name, label in labels.items():
            axes.plot(ratio, found[name], color=COLOURS[name], label=label, linewidth=2 if name == "r2vpo" else 1.3)
        furthest = 1 + advantage / (2 * LAMBDA)
        axes.axvline(furthest, color="#999999", linewidth=0.8, linestyle=":")
        axes.text(furthest, axes.get_ylim()[1], " r*", color="#666666", fontsize=9, va="top")
        axes.set(xlabel="ratio r", title=f"token of a {'good' if advantage > 0 else 'bad'} answer, A = {advantage:+g}")
        axes.axhline(0, color="#cccccc", linewidth=0.8, zorder=0)
    figure.axes[0].set_ylabel("push on log π")
    figure.axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def draw_variances() -> Figure:
    """Draw V and V_d of the same movement against the share of certain tokens."""
    figure = _figure()
    axes = figure.subplots()
    shares = [number / 20 for number in range(20)]
    for moved, style in ((0.3, "-"), (0.1, "--")):
        both = [variances(moved, certain) for certain in shares]
        axes.plot(shares, [v for v, _ in both], style, color=COLOURS["clip"], label=f"V, logits move by {moved:g}")
        axes.plot(
            shares,
            [d for _, d in both],
            style,
            color=COLOURS["r2vpo"],
            label=f"V_d, the same; {moved:g}² = {moved**2:.2g}",
        )
        axes.axhline(moved**2, color="#999999", linewidth=0.8, linestyle=":")
    axes.set(xlabel="share of tokens that the model is certain of", yscale="log")
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def found_rates(rate: float, rounds: int = 24, steps: int = 4, target: float = 0.5) -> tuple[list[float], list[float]]:
    """Train logits by the policy gradient under step control, from a base rate.

    Returns:
        The learning rate that the control applies at the end of each round, and the movement S that the round reached.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2_000, 20, generator=generator).requires_grad_()
    optimizer = torch.optim.AdamW([logits], lr=rate, weight_decay=0.0)
    control = StepSizeController()
    control.attach(optimizer)
    applied, reached = [], []
    for _ in range(rounds):
        token = logits.detach().softmax(-1).multinomial(1, generator=generator)
        advantage = torch.randn(token.shape, generator=generator)
        old = logits.detach().log_softmax(-1).gather(1, token)
        mask = torch.ones_like(token, dtype=torch.bool)
        control.begin_round(steps, target)
        for _ in range(steps):
            new = logits.log_softmax(-1).gather(1, token)
            control.update(logit_movement(new, old, mask))
            optimizer.zero_grad()
            (-(advantage * (new - old).exp()).mean()).backward()
            optimizer.step()
        moved = logit_movement(logits.detach().log_softmax(-1).gather(1, token), old, mask)
        control.update(moved)
        applied.append(rate * control.scale)
        reached.append(moved.value().item())
    return applied, reached


def draw_rates() -> Figure:
    """Draw the rate that step control finds, and the movement of each round, from three base rates."""
    figure = _figure()
    first, second = figure.subplots(1, 2)
    for rate, colour in ((1e-4, COLOURS["policy_gradient"]), (1e-2, COLOURS["r2vpo"]), (1.0, COLOURS["clip"])):
        applied, reached = found_rates(rate)
        first.plot(range(1, len(applied) + 1), applied, color=colour, label=f"started at {rate:g}")
        second.plot(range(1, len(reached) + 1), reached, color=colour)
    second.axhline(math.log1p(0.5), color="#666666", linestyle="--", linewidth=0.9)
    first.set(xlabel="round", yscale="log", title="learning rate that is applied")
    second.set(xlabel="round", yscale="log", title="movement S; dashed: its target, log(1 + T)")
    first.legend(frameon=False, fontsize=8)
    return figure


def _figure() -> Figure:
    return Figure(figsize=(8.4, 3.3), layout="constrained", facecolor="white")


def main() -> None:
    """Write all figures."""
    matplotlib.rcParams |= {
        "svg.hashsalt": "r2vpo",
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in (("gradients", draw_gradients), ("variances", draw_variances), ("rates", draw_rates)):
        draw().savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()

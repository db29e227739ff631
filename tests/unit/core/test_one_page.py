"""The example on one page computes what `r2vpo.core` does: loss, multiplier, movement, gain and controls."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.controls import Controls
from r2vpo.core.dual import advantage_moments
from r2vpo.core.held_out import held_out_sums
from r2vpo.core.objectives.ratio_variance import r2vpo_loss
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.ratios import logit_movement, stale_weight
from r2vpo.core.types import DecisionVarianceSums, MomentSums, MovementSums

PAGE = Path(__file__).parents[3] / "examples" / "r2vpo_in_one_page.py"


@pytest.fixture(scope="module")
def page() -> ModuleType:
    assert "r2vpo" not in {line.split()[1].split(".")[0] for line in PAGE.read_text().splitlines() if "import" in line}
    spec = importlib.util.spec_from_file_location("r2vpo_in_one_page", PAGE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=range(3))
def batch(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(request.param)
    sampled = -3 * torch.rand(6, 4, generator=generator)
    old = (sampled + 0.3 * torch.randn(6, 4, generator=generator)).clamp(max=-1e-3)
    now = (old + 0.3 * torch.randn(6, 4, generator=generator)).clamp(max=-1e-3)
    mask = torch.arange(4) <= torch.randint(4, (6, 1), generator=generator)
    advantages = torch.randn(6, generator=generator)
    advantages[2] = 0.0
    return {
        "log_probs": now.requires_grad_(),
        "old_log_probs": old,
        "rollout_log_probs": sampled,
        "response_mask": mask,
        "advantages": advantages,
    }


def test_the_loss_and_its_gradient(page: ModuleType, batch: dict[str, Tensor]) -> None:
    theirs = r2vpo_loss(dual=0.7, **batch).loss
    now, old, mask = batch["log_probs"], batch["old_log_probs"], batch["response_mask"]
    weight = page.stale_weight(old, batch["rollout_log_probs"], mask)
    ours = page.loss_of(now, old, batch["advantages"], weight, mask, 0.7)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    gradients = [torch.autograd.grad(loss, now)[0] for loss in (ours, theirs)]
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


def test_what_is_measured(page: ModuleType, batch: dict[str, Tensor]) -> None:
    now, old, mask = batch["log_probs"].detach(), batch["old_log_probs"], batch["response_mask"]
    weight = stale_weight(old, batch["rollout_log_probs"], mask)
    torch.testing.assert_close(page.stale_weight(old, batch["rollout_log_probs"], mask), weight)
    expected = logit_movement(now, old, mask, weight)
    assert page.movement(now, old, weight, mask) == pytest.approx(expected.to_tensor().tolist(), rel=1e-5)
    output = r2vpo_loss(dual=0.7, **batch)
    gain = held_out_sums(output.proximal, output.advantages, torch.ones(6, dtype=torch.bool))
    found = page.held_out_gain(now, old, batch["advantages"], weight, mask)
    assert found == pytest.approx(gain.tolist(), rel=1e-5)
    moments = advantage_moments(batch["advantages"], mask, old, weight)
    mine = (weight * batch["advantages"][:, None] ** 2).sum() / (weight * page.decisions(old, mask)).sum()
    assert mine.item() == pytest.approx(float(moments.value()), rel=1e-5)


def test_advantages(page: ModuleType) -> None:
    rewards = torch.bernoulli(torch.full((5 * page.SAMPLES,), 0.4), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(page.advantages_of(rewards), ADVANTAGES["grpo"](rewards, page.SAMPLES))


def test_the_controls_take_the_same_steps(page: ModuleType) -> None:
    """Rounds in which the movement is what a curvature that falls would give, with noise, jumps and lean rounds."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    ours = page.Controls()
    theirs = Controls(
        dual=DualOptions(), step_control=StepControlOptions(), steps_per_round=page.STEPS, reduce=lambda tensor: tensor
    )
    weights = torch.zeros(1, requires_grad=True)
    weights.grad = torch.zeros(1)
    optimizer = torch.optim.SGD([weights], lr=1.0)
    assert theirs.step_size is not None
    theirs.step_size.attach(optimizer)
    braked, widened = 0, 0
    for k in range(12):
        rows, last = draw(0, 300) * (k != 5), [0.0, 0.0] if k == 0 else [draw(0, 40), draw(5, 60)]
        ours.begin_round(rows, last)
        theirs.begin_round(MomentSums(*_tensors(3.0, 5.0)), MovementSums(*_tensors(*last)), rows)
        for _ in range(page.STEPS):
            curvature = math.exp(-0.2 * k) * draw(0.1, 3.0) * (30.0 if draw(0, 1) < 0.05 else 1.0)
            moved, decided = [curvature * ours.distance**2 * 20.0, 20.0]
            held = [draw(-1.0, 4.0) * ours.distance, draw(0, 9.0), draw(1.0, 9.0), draw(0, 1.0) * (k > 6)]
            ours.measure(moved, decided, held)
            _measure(theirs, moved, decided, held)
            assert ours.scale * ours.brake == pytest.approx(theirs.step_size.factor, rel=1e-5)
            assert ours.target == pytest.approx(theirs.target, rel=1e-5)
            braked += ours.brake < 1.0
            widened += ours.target > page.DELTA * ours.informative
            ours.factor()
            optimizer.step()
    assert braked > 5 and widened > 20, "what was compared is the whole of it"


def _tensors(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(value, dtype=torch.float64) for value in values)


def _measure(controls: Controls, moved: float, decided: float, held: list[float]) -> None:
    from r2vpo.core.diagnostics import diagnostic_sums

    nothing: dict[str, Any] = {name: torch.zeros(1, 1) for name in ("log_probs", "old_log_probs", "rollout_log_probs")}
    output = r2vpo_loss(
        response_mask=torch.ones(1, 1, dtype=torch.bool), advantages=torch.zeros(1), dual=1.0, **nothing
    )
    controls.add(
        constrained=DecisionVarianceSums(*_tensors(1.0, 1.0)),
        proximal=MovementSums(*_tensors(moved, decided)),
        diagnostics=diagnostic_sums(output).double(),
        held_out=torch.stack(_tensors(*held)),
    )
    controls.finish_step()

"""The registered loss through verl's own `ppo_loss`: equal to the core, and to verl's own where both have the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import verl  # loads the plugin
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, agg_loss, get_policy_loss_fn
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.integrations.verl import state
from r2vpo.integrations.verl.loss import policy_loss
from r2vpo.integrations.verl.options import AGGREGATIONS, PolicyLossOptions
from tests.frameworks.verl.batches import LENGTHS, batch
from tests.frameworks.verl.model import PROMPT
from tests.frameworks.verl.train import actor_config

ROWS = list(range(len(LENGTHS)))


@pytest.fixture(autouse=True)
def fresh_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_state", None)


def config(mode: str = "token-mean", loss: Any = None, **options: Any) -> FSDPActorConfig:
    return FSDPActorConfig(
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        loss_agg_mode=mode,
        loss_scale_factor=7 if mode.endswith("norm") else None,
        policy_loss=loss or PolicyLossOptions(loss_mode="r2vpo", **options),
    )


def through_verl(settings: FSDPActorConfig, *, weights: bool, dp_size: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient in the log-probs, of a batch without padding, from verl's call site."""
    data = batch(ROWS, weights=weights)
    tokens = None if dp_size == 1 else 100
    tu.assign_non_tensor(data, dp_size=dp_size, batch_num_tokens=tokens)
    tu.assign_non_tensor(data, global_batch_size=None if dp_size == 1 else 30)
    flat = current(data).requires_grad_()
    whole = torch.nested.nested_tensor_from_jagged(flat, offsets=data["input_ids"].offsets())
    loss, _ = ppo_loss(settings, {"log_probs": whole}, data)
    loss.backward()
    return loss.detach(), flat.grad


def current(data: Any) -> torch.Tensor:
    """Log-probs near the old ones, over all positions."""
    generator = torch.Generator().manual_seed(5)
    rows = []
    for ids, old in zip(data["input_ids"].unbind(), data["old_log_probs"].unbind(), strict=True):
        row = torch.zeros(len(ids))
        row[PROMPT - 1 : -1] = old + 0.3 * torch.randn(len(old), generator=generator)
        rows.append(row)
    return torch.cat(rows)


def through_core(
    options: MethodOptions, *, weights: bool, normalizer: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    data = batch(ROWS, weights=weights)
    flat = current(data).requires_grad_()
    offsets = data["input_ids"].offsets()
    width = max(LENGTHS)
    mask = torch.zeros(len(ROWS), width, dtype=torch.bool)
    columns = {name: torch.zeros(len(ROWS), width) for name in ("old_log_probs", "advantages", "rollout_is_weights")}
    now = torch.zeros(len(ROWS), width)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = True
        for name, column in columns.items():
            if name in data.keys():
                column[row, :length] = data[name][row]
        now[row, :length] = flat[offsets[row] + PROMPT - 1 : offsets[row + 1] - 1]
    old, given = columns["old_log_probs"], columns["rollout_is_weights"]
    keep = mask & (given > 0) if weights else mask
    rollout = old - torch.where(given > 0, given, 1.0).log() if weights else None
    method = Method(options)
    if options.objective.anchor == "behavior":
        rollout = old
    loss = method.loss(
        log_probs=now,
        old_log_probs=old,
        rollout_log_probs=rollout,
        advantages=columns["advantages"],
        response_mask=keep,
        dual=method.controls(steps_per_round=1, reduce=lambda tensor: tensor).dual.value,
        config=method.config,
        normalizer=normalizer,
    ).loss
    loss.backward()
    return loss.detach(), flat.grad


def test_importing_verl_registers_the_loss() -> None:
    assert POLICY_LOSS_REGISTRY["r2vpo"] is policy_loss and get_policy_loss_fn("r2vpo") is policy_loss
    assert verl.__version__ == "0.9.1"


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("objective", [{}, {"name": "cispo"}, {"options": {"brake": "two_sided"}}])
@pytest.mark.parametrize(
    ("mode", "ours", "normalizer"),
    [
        ("token-mean", {}, 100 / 2),
        ("seq-mean-token-mean", {"aggregation": "sequence_mean"}, 30 / 2),
        ("seq-mean-token-sum", {"aggregation": "constant", "constant": 1.0}, 30 / 2),
        ("seq-mean-token-sum-norm", {"aggregation": "constant", "constant": 7.0}, 30 / 2),
    ],
)
def test_it_is_the_cores(weights: bool, objective: dict, mode: str, ours: dict, normalizer: float) -> None:
    loss, gradient = through_verl(config(mode, objective=objective), weights=weights, dp_size=2)
    options = MethodOptions(objective=objective | ours)
    expected, expected_gradient = through_core(options, weights=weights, normalizer=normalizer)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert gradient.abs().sum() > 0


def test_in_bypass_mode_the_anchor_is_the_sampler() -> None:
    loss, gradient = through_verl(config(objective={"anchor": "behavior"}), weights=False)
    expected, expected_gradient = through_core(
        MethodOptions(objective={"anchor": "behavior"}), weights=False, normalizer=None
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    with pytest.raises(ValueError, match="bypass_mode=true"):
        through_verl(config(objective={"anchor": "behavior"}), weights=True)


@pytest.mark.parametrize("mode", AGGREGATIONS)
@pytest.mark.parametrize("dp_size", [1, 2])
def test_clipping_is_verls_own(mode: str, dp_size: int) -> None:
    """The same loss from both: so the denominators and the signs are verl's, not ours."""
    ours = config(mode, objective={"name": "clip", "options": {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0}})
    theirs = config(mode, loss=PolicyLossConfig(loss_mode="vanilla"))
    loss, gradient = through_verl(ours, weights=False, dp_size=dp_size)
    expected, expected_gradient = through_verl(theirs, weights=False, dp_size=dp_size)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_and_with_another_clip_range_it_is_not() -> None:
    ours = config(objective={"name": "clip", "options": {"clip_low": 0.1, "clip_high": 0.1}})
    theirs = config(loss=PolicyLossConfig(loss_mode="vanilla"))
    loss, _ = through_verl(ours, weights=False)
    assert not torch.allclose(loss, through_verl(theirs, weights=False)[0])


def test_a_rejected_token_is_not_trained_on() -> None:
    data = batch(ROWS, weights=True)
    rejected = torch.cat([(row == 0) for row in data["rollout_is_weights"].unbind()])
    _, gradient = through_verl(config(), weights=True)
    places = torch.cat(
        [
            torch.arange(o + PROMPT - 1, o + PROMPT - 1 + n)
            for o, n in zip(data["input_ids"].offsets(), LENGTHS, strict=False)
        ]
    )
    assert rejected.any() and (gradient[places][rejected] == 0).all() and (gradient[places][~rejected] != 0).any()


def test_what_is_not_measured_is_not_added_up() -> None:
    settings = actor_config()
    through_verl(settings, weights=False)
    with pytest.raises(ValueError, match="has no micro-batch"):
        state.current(settings).controls.finish_step()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "token-sum"}, "actor.loss_agg_mode='token-sum'"),
        ({"objective": {"aggregation": "token_mean"}}, "set actor.loss_agg_mode"),
        ({"objective": "kl_penalty", "dual": "ascent"}, "dual.kind = ascent"),
        ({"objective": {"delta": 0.0}}, "delta is 0; it must be at least 1e-09"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        through_verl(config(**change), weights=False)


def test_a_mean_over_a_batchs_own_width_is_refused() -> None:
    settings = FSDPActorConfig(
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        loss_agg_mode="seq-mean-token-sum-norm",
        policy_loss=PolicyLossOptions(loss_mode="r2vpo"),
    )
    with pytest.raises(ValueError, match=r"actor\.loss_scale_factor is unset"):
        through_verl(settings, weights=False)


def test_what_is_used_of_verl() -> None:
    assert list(inspect.signature(agg_loss).parameters)[3:] == [
        "dp_size",
        "batch_num_tokens",
        "global_batch_size",
        "loss_scale_factor",
    ]
    assert list(inspect.signature(ppo_loss).parameters) == ["config", "model_output", "data", "dp_group"]

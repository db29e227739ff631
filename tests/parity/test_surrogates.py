"""Losses of TRL, verl and OpenRLHF against ours: value and gradient, on odd shapes and ragged masks.

TRL's is the method of a real `GRPOTrainer`, whose model is left out: the log-probs are given. Of verl and
OpenRLHF single functions are run out of their wheels (`tests/parity/installed.py`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from r2vpo.core.objectives import OBJECTIVES, ClipConfig, SapoConfig, VespoConfig, kl_penalty_loss
from r2vpo.core.ratios import stale_weight
from tests.oracles.batches import batch
from tests.parity.installed import definitions
from tests.tiny import even_digits, tiny_dataset, tiny_model, tiny_tokenizer
from tests.tolerances import FLOAT32, FLOAT64


def case(seed: int, *, dtype: torch.dtype = torch.float64, per_token: bool = False) -> dict[str, Any]:
    """A batch without stale weights; TRL counts rows without tokens as responses, so there are none."""
    b = batch(seed=seed, rows=5, width=7, dtype=dtype, per_token=per_token)
    b["log_probs"] = b["old_log_probs"] + 1.5 * (b["log_probs"] - b["old_log_probs"])
    b["response_mask"][-1, 2:4] = True
    return {**b, "rollout_log_probs": None}


def ours(name: str, b: dict[str, Any], **options: Any) -> tuple[Tensor, Tensor]:
    log_probs = b["log_probs"].clone().requires_grad_()
    objective = OBJECTIVES[name]
    loss = objective.loss(**{**b, "log_probs": log_probs}, dual=0.0, config=objective.config_class(**options)).loss
    return loss.detach(), torch.autograd.grad(loss, log_probs)[0]


def same(name: str, b: dict[str, Any], theirs: tuple[Tensor, Tensor], options: dict[str, Any], tolerance: Any) -> None:
    """Compare; where theirs has `log pi` and ours `log r`, the values differ by the gradient times `log pi_k`."""
    loss, gradient = ours(name, b, **options)
    torch.testing.assert_close(gradient, theirs[1], **tolerance)
    if name in ("cispo", "vespo", "dppo_tv"):
        loss = loss + (theirs[1] * b["old_log_probs"]).sum()
    torch.testing.assert_close(loss, theirs[0], **tolerance)
    assert theirs[1].abs().max() > 1e-3


TRL_OPTIONS = (
    "delta", "sapo_temperature_pos", "sapo_temperature_neg", "vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg",
    "vespo_lambda_neg",
)  # fmt: skip


class GivenLogProbs(GRPOTrainer):
    """TRL's trainer whose model's log-probs are set by the test."""

    given: Tensor

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        return self.given, torch.zeros_like(self.given), None


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> GivenLogProbs:
    config = GRPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), per_device_train_batch_size=4, num_generations=4,
        gradient_accumulation_steps=1, max_completion_length=9, report_to=[], use_cpu=True, bf16=False,
    )  # fmt: skip
    return GivenLogProbs(
        model=tiny_model(), reward_funcs=even_digits, args=config, train_dataset=tiny_dataset(),
        processing_class=tiny_tokenizer(),
    )  # fmt: skip


def trl_loss(trainer: GivenLogProbs, b: dict[str, Any], loss_type: str, **options: Any) -> tuple[Tensor, Tensor]:
    trainer.loss_type = loss_type
    trainer.importance_sampling_level = options.pop("importance_sampling_level", "token")
    trainer.epsilon_low, trainer.epsilon_high = options.pop("epsilon", 0.2), options.pop("epsilon_high", 0.2)
    defaults = {name: getattr(GRPOConfig, name) for name in TRL_OPTIONS}
    for name, value in (defaults | options).items():
        assert name in defaults
        setattr(trainer.args, name, value)
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = 1
    trainer.model.train()
    trainer.given = b["log_probs"].clone().requires_grad_()
    mask = b["response_mask"].long()
    ids = torch.ones_like(mask)
    inputs = {
        "prompt_ids": ids, "prompt_mask": ids, "completion_ids": ids, "completion_mask": mask,
        "advantages": b["advantages"], "old_per_token_logps": b["old_log_probs"], "num_items_in_batch": mask.sum(),
        "importance_sampling_ratio": b.get("importance_sampling_ratio"),
    }  # fmt: skip
    loss = trainer._compute_loss(trainer.model, inputs)
    return loss.detach(), torch.autograd.grad(loss, trainer.given)[0]


TRL = [
    ("clip", "dapo", {"epsilon": 0.1, "epsilon_high": 0.3}, {"clip_low": 0.1, "clip_high": 0.3}),
    (
        "clip", "grpo", {"delta": 1.4, "epsilon_high": 0.28},
        {"aggregation": "sequence_mean", "clip_high": 0.28, "dual_clip": 1.4},
    ),
    ("clip", "dr_grpo", {}, {"aggregation": "constant", "constant": 9.0}),
    (
        "gspo", "grpo", {"importance_sampling_level": "sequence", "epsilon": 0.05, "epsilon_high": 0.1},
        {"clip_low": 0.05, "clip_high": 0.1},
    ),
    ("cispo", "cispo", {"epsilon_high": 5.0}, {}),
    ("cispo", "cispo", {"epsilon_high": 1.3}, {"clip_high": 0.3}),
    ("sapo", "sapo", {}, {}),
    (
        "sapo", "sapo", {"sapo_temperature_pos": 1.7, "sapo_temperature_neg": 3.3},
        {"tau_positive": 1.7, "tau_negative": 3.3},
    ),
    ("vespo", "vespo", {}, {}),
    (
        "vespo", "vespo",
        {"vespo_k_pos": 1.1, "vespo_lambda_pos": 0.7, "vespo_k_neg": 2.3, "vespo_lambda_neg": 1.9},
        {"k_positive": 1.1, "lambda_positive": 0.7, "k_negative": 2.3, "lambda_negative": 1.9},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "loss_type", "theirs", "options"), TRL)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_trl(trainer: GivenLogProbs, name: str, loss_type: str, theirs: dict, options: dict, seed: int) -> None:
    # TRL rounds the temperatures of sapo and the exponents of vespo to float32.
    b = case(seed, dtype=torch.float32)
    same(name, b, trl_loss(trainer, b, loss_type, **theirs), options, FLOAT32)
    if name not in ("sapo", "vespo"):
        b = case(seed)
        same(name, b, trl_loss(trainer, b, loss_type, **theirs), options, FLOAT64)


def test_trls_defaults_are_ours() -> None:
    theirs = GRPOConfig
    clip, sapo, vespo = ClipConfig(), SapoConfig(), VespoConfig()
    assert (clip.clip_low, clip.clip_high, clip.dual_clip) == (theirs.epsilon, theirs.epsilon, theirs.delta)
    assert (sapo.tau_positive, sapo.tau_negative) == (theirs.sapo_temperature_pos, theirs.sapo_temperature_neg)
    assert (vespo.k_positive, vespo.lambda_positive) == (theirs.vespo_k_pos, theirs.vespo_lambda_pos)
    assert (vespo.k_negative, vespo.lambda_negative) == (theirs.vespo_k_neg, theirs.vespo_lambda_neg)


def test_other_options_than_trls_are_noticed(trainer: GivenLogProbs) -> None:
    b = case(1, dtype=torch.float32)
    for name, loss_type, theirs, options in TRL:
        own = {"cispo": {"clip_high": 0.1}, "sapo": {"tau_positive": 5.0}, "vespo": {"lambda_positive": 1.0}}
        changed = options | own.get(name, {"clip_low": 0.01})
        with pytest.raises(AssertionError):
            same(name, b, trl_loss(trainer, b, loss_type, **theirs), changed, FLOAT32)


def test_vespo_to_the_sampler_is_trls_with_its_correction(trainer: GivenLogProbs) -> None:
    """TRL multiplies the sampler's mismatch into W; that is our ratio under the anchor "behavior"."""
    b = case(4, dtype=torch.float32)
    b["rollout_log_probs"] = b["old_log_probs"] + 0.2 * batch(seed=5, dtype=torch.float32)["log_probs"]
    correction = torch.where(b["response_mask"], (b["old_log_probs"] - b["rollout_log_probs"]).exp(), 1.0)
    _, theirs = trl_loss(trainer, {**b, "importance_sampling_ratio": correction}, "vespo")
    _, gradient = ours("vespo", b, anchor="behavior")
    torch.testing.assert_close(gradient, theirs, **FLOAT32)
    assert not torch.allclose(ours("vespo", {**b, "rollout_log_probs": None})[1], theirs, rtol=1e-3)


def verl(*names: str) -> dict[str, Any]:
    path = "verl/utils/torch_functional.py"
    sums = definitions("verl", "0.9.1", path, ["masked_sum", "masked_mean"], torch=torch)
    return definitions(
        "verl", "0.9.1", "verl/trainer/ppo/core_algos.py", ["agg_loss", *names], torch=torch,
        verl_F=SimpleNamespace(masked_sum=sums["masked_sum"], masked_mean=sums["masked_mean"]),
        ActorConfig=VerlActor, AlgoConfig=type("AlgoConfig", (), {}),
    )  # fmt: skip


class VerlActor(SimpleNamespace):
    """The fields of verl's ActorConfig that its losses read."""

    def __init__(self, **changes: Any) -> None:
        defaults = {
            "clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2, "clip_ratio_c": 3.0, "tau_pos": 1.0,
            "tau_neg": 1.05, "global_batch_info": {},
        }  # fmt: skip
        super().__init__(**(defaults | changes))

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


VERL = [
    ("clip", "vanilla", {"clip_ratio_high": 0.28, "clip_ratio_c": 1.4}, {"clip_high": 0.28, "dual_clip": 1.4}),
    ("gspo", "gspo", {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4}, {}),
    ("gspo", "gspo", {"clip_ratio_low": 0.05, "clip_ratio_high": 0.1}, {"clip_low": 0.05, "clip_high": 0.1}),
    ("cispo", "cispo", {"clip_ratio_low": 0.3, "clip_ratio_high": 0.4}, {"clip_low": 0.3, "clip_high": 0.4}),
    ("cispo", "cispo", {"clip_ratio_low": 10.0, "clip_ratio_high": 0.2}, {"clip_high": 0.2}),
    ("sapo", "sapo", {"tau_pos": 1.7, "tau_neg": 3.3}, {"tau_positive": 1.7, "tau_negative": 3.3}),
    ("dppo_tv", "dppo_tv", {"clip_ratio_low": 0.15, "clip_ratio_high": 0.15, "clip_ratio_c": 20.0}, {}),
    (
        "dppo_tv", "dppo_tv", {"clip_ratio_low": 0.02, "clip_ratio_high": 0.05, "clip_ratio_c": 1.3},
        {"tv_low": 0.02, "tv_high": 0.05, "ratio_cap": 1.3},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "mode", "theirs", "options"), VERL)
@pytest.mark.parametrize("stale", [False, True])
def test_verl(name: str, mode: str, theirs: dict, options: dict, stale: bool) -> None:
    function = verl(f"compute_policy_loss_{mode}")[f"compute_policy_loss_{mode}"]
    b = case(6, per_token=name not in ("gspo",))
    if name == "gspo":
        b["advantages"] = b["advantages"][:, None].expand(5, 7)
    config = OBJECTIVES[name].config_class(**options)
    mode_of_sum = {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean"}[config.aggregation]
    weights = None
    if stale:  # our stale weight is what verl applies as rollout correction
        b["rollout_log_probs"] = b["old_log_probs"] + 0.3 * batch(seed=7)["log_probs"]
        weights = stale_weight(b["old_log_probs"], b["rollout_log_probs"], b["response_mask"], 2.0, config.level)
    log_probs = b["log_probs"].clone().requires_grad_()
    loss, _ = function(
        old_log_prob=b["old_log_probs"], log_prob=log_probs, advantages=b["advantages"],
        response_mask=b["response_mask"].to(torch.float64), loss_agg_mode=mode_of_sum, config=VerlActor(**theirs),
        rollout_is_weights=weights,
    )  # fmt: skip
    # verl adds 1e-8 to the length of a response where it takes a mean over it.
    tolerance = FLOAT32 if name in ("gspo", "sapo") else FLOAT64
    same(name, b, (loss.detach(), torch.autograd.grad(loss, log_probs)[0]), options, tolerance)


def test_the_divergence_is_verls_k3() -> None:
    estimate = verl("kl_penalty_forward")["kl_penalty_forward"]
    b = case(8)
    log_probs = b["log_probs"].clone().requires_grad_()
    mask = b["response_mask"]
    # verl's second argument is the policy in the ratio's numerator.
    theirs = torch.where(mask, estimate(b["old_log_probs"], log_probs, "k3"), 0.0).sum() / mask.sum()
    b["advantages"] = torch.zeros(5, dtype=torch.float64)
    b["log_probs"] = log_probs
    out = kl_penalty_loss(**b, dual=1.0)
    torch.testing.assert_close(out.metrics["kl"], theirs.detach(), **FLOAT64)
    mine, expected = (torch.autograd.grad(value, log_probs)[0] for value in (out.loss, theirs))
    torch.testing.assert_close(mine, expected, **FLOAT64)


def openrlhf(**options: Any) -> Any:
    means = definitions("openrlhf", "0.11.2", "openrlhf/models/utils.py", ["masked_mean"], torch=torch)
    return definitions(
        "openrlhf", "0.11.2", "openrlhf/models/loss.py", ["PolicyLoss", "aggregate_loss"], torch=torch,
        nn=torch.nn, masked_mean=means["masked_mean"],
    )["PolicyLoss"](**options)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "theirs", "options", "tolerance"),
    [
        ("clip", {"clip_eps_low": 0.1, "clip_eps_high": 0.3}, {"clip_low": 0.1, "clip_high": 0.3}, FLOAT64),
        ("clip", {"dual_clip": 1.4}, {"dual_clip": 1.4}, FLOAT64),
        ("clip", {"token_level_loss": False}, {"aggregation": "sequence_mean"}, FLOAT32),
        (
            "gspo", {"policy_loss_type": "gspo", "clip_eps_low": 0.05, "clip_eps_high": 0.1, "dual_clip": 1.2},
            {"clip_low": 0.05, "clip_high": 0.1, "dual_clip": 1.2}, FLOAT32,
        ),
    ],
)  # fmt: skip
def test_openrlhf(name: str, theirs: dict, options: dict, tolerance: Any) -> None:
    b = case(9)
    log_probs = b["log_probs"].clone().requires_grad_()
    loss = openrlhf(**theirs)(
        log_probs, b["old_log_probs"], b["advantages"][:, None].expand(5, 7),
        action_mask=b["response_mask"].to(torch.float64),
    )[0]  # fmt: skip
    same(name, b, (loss.detach(), torch.autograd.grad(loss, log_probs)[0]), options, tolerance)

"""The options of a method under one set of names, whoever trains with it: objective, multiplier, step size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from r2vpo.core.controls import Controls
from r2vpo.core.dual import DualConfig
from r2vpo.core.kl_adaptive import TARGET_KL, KLAdaptiveConfig
from r2vpo.core.objectives import Loss, ObjectiveConfig, build_config, find_objective
from r2vpo.core.radius import DELTA
from r2vpo.core.step_size import StepSizeConfig
from r2vpo.core.validation import check_choice

STEP_KINDS = ("decision_variance", "kl")
# What the KL rule does not read.
_NOT_OF_KL = ("step_first_scale", "step_grow", "step_memory")


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What a trainer needs to know of R²VPO, or of another objective under the same controls.

    Attributes:
        objective: A key of `r2vpo.core.objectives.OBJECTIVES`.
        objective_options: The objective's own options by name; None is its defaults.
        ratio_variance_delta: Adds the ratio-variance penalty to another objective than "r2vpo"; its multiplier aims
            at this number, which means what `variance_delta` means.
        variance_delta: How far a round may move the policy: the ratio variance per decision, V_d, for each rollout of
            the round that has an advantage, dimensionless. Step control aims at it with every objective.
        anchor: "proximal" or "behavior".
        level: "token" or "response"; None is the objective's own.
        aggregation: "token_mean", "sequence_mean" or "constant"; None is the objective's own.
        aggregation_constant: Tokens that a response is divided by with "constant".
        stale_weight_cap: Largest importance weight of a stale token.
        dual: "closed_form", "ascent", "doubling" or "fixed"; not read by an objective without a multiplier.
        dual_eta: Speed of the ascent.
        dual_lower: Smallest multiplier.
        dual_upper: Largest multiplier; None is the batch's own closed form, or a million with "doubling".
        dual_value: The multiplier of "fixed", or the first of "ascent" and "doubling".
        step_control: Whether the learning rate follows V_d, or the KL divergence.
        step_kind: What it follows: "decision_variance", or "kl", a rival for comparison (`KLAdaptiveController`), which
            reads `step_target_kl`, `step_min_scale` and `step_max_scale` alone.
        step_target_kl: What "kl" aims at, nats a token; None is 0.01.
        step_first_scale: Factor on the learning rate at the first optimizer step.
        step_grow: Largest factor from one step to the next.
        step_memory: Weight that a round's measured curvature keeps a round later.
        step_min_scale: Smallest factor on the learning rate.
        step_max_scale: Largest factor on it.

    Raises:
        ValueError: A value out of its bounds, or options that do not fit each other; the message says which and what
            to set.
    """

    objective: str = "r2vpo"
    objective_options: Mapping[str, Any] | None = None
    ratio_variance_delta: float | None = None
    variance_delta: float = DELTA
    anchor: str = "proximal"
    level: str | None = None
    aggregation: str | None = None
    aggregation_constant: float | None = None
    stale_weight_cap: float = 2.0
    dual: str = "closed_form"
    dual_eta: float = 0.1
    dual_lower: float = 0.02
    dual_upper: float | None = None
    dual_value: float | None = None
    step_control: bool = True
    step_kind: str = STEP_KINDS[0]
    step_target_kl: float | None = None
    step_first_scale: float = 0.05
    step_grow: float = 2.0
    step_memory: float = 0.95
    step_min_scale: float = 1e-4
    step_max_scale: float = 1e4

    def __post_init__(self) -> None:
        self.dual_config()
        self.step_size_config()

    @classmethod
    def of(cls, options: Any) -> Self:
        """Read the options off any object that has them as attributes.

        Args:
            options: A config of a framework's that carries fields of these names.
        """
        return cls(**{field.name: getattr(options, field.name) for field in fields(cls)})

    @property
    def loss(self) -> Loss:
        """The objective's function."""
        return find_objective(self.objective).loss

    def objective_config(self) -> ObjectiveConfig:
        """The objective's options, its own and the shared ones."""
        own = find_objective(self.objective).config_class
        shared: dict[str, Any] = {
            "anchor": self.anchor,
            "level": own.level if self.level is None else self.level,
            "stale_weight_cap": self.stale_weight_cap,
            "aggregation": own.aggregation if self.aggregation is None else self.aggregation,
            "constant": self.aggregation_constant,
        }
        if self.objective == "r2vpo":
            shared["delta"] = self.variance_delta
        if self.ratio_variance_delta is not None:
            shared["ratio_variance_delta"] = self.ratio_variance_delta
        return build_config(self.objective, self.objective_options or {}, **shared)

    def moves_without_advantage(self) -> bool:
        """Whether the loss has a gradient at a row of advantage 0, as a penalty that draws tokens back has.

        Found by asking the loss, at ratios on both sides of 1.
        """
        config = self.objective_config()
        log_probs = torch.tensor([[-1.0, -1.2, -0.8]], requires_grad=True)
        base = torch.full((1, 3), -1.0)
        output = self.loss(
            log_probs=log_probs,
            old_log_probs=base,
            rollout_log_probs=base,
            advantages=torch.zeros(1),
            response_mask=torch.ones(1, 3, dtype=torch.bool),
            dual=1.0,
            config=config,
        )
        (gradient,) = torch.autograd.grad(output.loss, log_probs, allow_unused=True)
        return gradient is not None and bool(gradient.abs().max() > 0)

    def dual_config(self) -> DualConfig:
        """The multiplier's options; an objective without a multiplier has the fixed one of 0."""
        objective = self.objective_config()
        if objective.constraint_target is None:
            return DualConfig(kind="fixed", delta=self.variance_delta, value=0.0)
        config = DualConfig(
            kind=self.dual,
            delta=objective.constraint_target,
            eta=self.dual_eta,
            lower=self.dual_lower,
            upper=self.dual_upper,
            value=self.dual_value,
        )
        if self.dual not in objective.dual_kinds:
            raise ValueError(
                f"dual={self.dual!r} rests on the closed form of the ratio variance, which objective="
                f"{self.objective!r} does not constrain; set dual to {' or '.join(objective.dual_kinds)} "
                "(in a recipe dual.kind)"
            )
        return config

    def step_size_config(self) -> StepSizeConfig | KLAdaptiveConfig | None:
        """The options of step control, or None where the learning rate is left alone."""
        check_choice("step_kind", self.step_kind, STEP_KINDS)
        config = self._kl_config() if self.step_kind == "kl" else self._decision_config()
        return config if self.step_control else None

    def _decision_config(self) -> StepSizeConfig:
        if self.step_target_kl is not None:
            raise ValueError(
                f"step_target_kl={self.step_target_kl!r} is not read with step_kind={self.step_kind!r}; leave it out, "
                "or set step_kind='kl'"
            )
        return StepSizeConfig(
            delta=self.variance_delta,
            grow=self.step_grow,
            memory=self.step_memory,
            first_scale=self.step_first_scale,
            min_scale=self.step_min_scale,
            max_scale=self.step_max_scale,
        )

    def _kl_config(self) -> KLAdaptiveConfig:
        for field in fields(MethodOptions):
            if field.name in _NOT_OF_KL and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name}={getattr(self, field.name)!r} is not read with step_kind='kl'; leave it out"
                )
        return KLAdaptiveConfig(
            target=TARGET_KL if self.step_target_kl is None else self.step_target_kl,
            min_scale=self.step_min_scale,
            max_scale=self.step_max_scale,
        )

    def controls(self, *, steps_per_round: int, reduce: Callable[[Tensor], Tensor]) -> Controls:
        """Multiplier and step size, ready to be driven.

        Args:
            steps_per_round: Optimizer steps from one generation to the next.
            reduce: Sums a tensor over all processes.
        """
        return Controls(
            dual=self.dual_config(),
            step_size=self.step_size_config(),
            steps_per_round=steps_per_round,
            reduce=reduce,
            dual_scales="closed_form" in self.objective_config().dual_kinds,
            delta=self.variance_delta,
        )

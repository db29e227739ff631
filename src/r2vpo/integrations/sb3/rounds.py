"""What R²VPO knows from round to round: the controls, the movement of the last round, and the replay."""

from __future__ import annotations

import math
import warnings
from typing import Any, cast

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from r2vpo.core.controls import Controls
from r2vpo.core.dual import objective_moments
from r2vpo.core.method import Method
from r2vpo.core.ratios import LOG_RATIO_BOUND, logit_movement, stale_weight
from r2vpo.core.single_ratios import single_ratios
from r2vpo.core.types import LossOutput, MomentSums, MovementSums
from r2vpo.core.validation import check_state
from r2vpo.integrations.sb3.evaluation import evaluate
from r2vpo.integrations.sb3.options import SB3Options
from r2vpo.integrations.sb3.replay import SegmentReplay
from r2vpo.integrations.sb3.rows import Rows

MEASURED_AGAIN = 4
"""One fresh row in this many is evaluated again after a round's last step, to measure the round as a whole."""


ROOM = 2.0
"""lambda* is that of a trust radius this many times as large as the round's, which step control enforces.

At lambda* of the radius itself, V_d is the radius when *every* action has moved to its r*. The hundreds of steps of a
round bring those that can move there long before: then they have no gradient, V_d stays below the radius, and step
control raises the rate without end. A much weaker brake lets single rounds go far beyond the radius."""

AT_START = 0.1
"""A round whose movement is above this share of its trust radius before its first step causes a warning."""


class Rounds:
    """Starts, measures and ends rounds.

    Args:
        options: The options.
        seed: Of the replay's draws.

    Attributes:
        method: The objective, its config and its options.
        controls: The controllers of lambda and the step size.
        replay: The stale segments; None without replay.
    """

    def __init__(self, options: SB3Options, seed: int) -> None:
        self._made_with = options, seed
        self.method = Method(options)
        self.controls: Controls = self.method.controls(steps_per_round=1, reduce=_of_one_process)
        self.replay: SegmentReplay | None = None
        if options.replay_versions:
            self.replay = SegmentReplay(options.replay_versions, options.replay_ratio, seed)
        self._last_round = MovementSums.zero()
        self._weighted = False
        self._first_step, self._warned = True, False
        self._mask = torch.ones(0, 1, dtype=torch.bool)

    def begin(self, rows: Rows, *, advantages: Tensor, steps: int) -> None:
        """Start a round: its trust radius, lambda, and the movement of the round before it.

        Args:
            rows: Fresh and stale.
            advantages: Theirs, (N,), on the scale that the loss has them.
            steps: Optimizer steps.
        """
        self._weighted = rows.rollout_log_probs is not rows.old_log_probs or self.method.config.anchor == "behavior"
        moments = objective_moments(
            self.method.config,
            advantages=advantages,
            response_mask=torch.ones_like(rows.values, dtype=torch.bool)[:, None],
            old_log_probs=rows.old_log_probs[:, None],
            rollout_log_probs=rows.rollout_log_probs[:, None],
            decisions=rows.decisions[:, None],
        )
        moments = MomentSums(moments.numerator / ROOM, moments.denominator)
        # One rollout: delta is what a round may reach, whose size does not change.
        self.controls.begin_round(moments, self._last_round, rollouts=1.0, steps=steps)
        self._last_round = MovementSums.zero()
        self._first_step = True

    def loss(self, log_probs: Tensor, rows: Rows, advantages: Tensor) -> LossOutput:
        """Compute the policy loss of a minibatch.

        Args:
            log_probs: log pi, (n,) nats, with gradient.
            rows: The minibatch.
            advantages: A, (n,).
        """
        if len(self._mask) != len(log_probs):
            self._mask = torch.ones_like(log_probs, dtype=torch.bool)[:, None]
        dual, config = self.controls.dual.value, self.method.config
        of_ratios = getattr(self.method.loss, "of_ratios", None)  # what `loss_of` makes has it
        if of_ratios is not None and config.anchor == "proximal":
            ratios = single_ratios(
                log_probs=log_probs,
                old_log_probs=rows.old_log_probs,
                stale_weight=self._stale_weight(rows) if self._weighted else None,
                decisions=rows.decisions,
                mask=self._mask,
            )
            return cast(LossOutput, of_ratios(ratios, None, advantages=advantages, dual=dual, config=config))
        return self.method.loss(
            log_probs=log_probs[:, None],
            old_log_probs=rows.old_log_probs[:, None],
            rollout_log_probs=rows.rollout_log_probs[:, None] if self._weighted else None,
            advantages=advantages,
            response_mask=self._mask,
            dual=dual,
            config=config,
            decisions=rows.decisions[:, None],
        )

    def _stale_weight(self, rows: Rows) -> Tensor:
        cap = self.method.config.stale_weight_cap
        return stale_weight(rows.old_log_probs[:, None], rows.rollout_log_probs[:, None], self._mask, cap)

    def finish_step(self, output: LossOutput) -> dict[str, Any]:
        """Let lambda and the step size follow a minibatch, before the optimizer's step; see `Controls.finish_step`.

        No row counts as held out. Neighbouring transitions share rewards, so the advantages of rows that no step has
        trained on contain the noise of those that were trained on, and the trust radius grew with it: on Pendulum and
        CartPole that made training far worse.

        Args:
            output: The minibatch's loss.
        """
        self.controls.measure(output, diagnosed=False)
        metrics = self.controls.finish_step()
        if self._first_step:
            self._first_step = False
            self._warn_of_movement()
        return metrics

    def _warn_of_movement(self) -> None:
        """Warn once if the policy differs from itself before the first step, which step control takes for movement."""
        controls = self.controls
        if controls.step_size is None or controls.movement <= AT_START * math.log1p(controls.target) or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"before the first step of a round, V_d is {math.expm1(controls.movement):.2g} already, with a delta of "
            f"{controls.target:g}: the policy gives actions other probabilities in training than when they were "
            "sampled, and step control takes that for movement and makes steps too small. Dropout and batch "
            "normalisation do this: use layers that compute the same in both modes",
            UserWarning,
            stacklevel=2,
        )

    def end(self, policy: ActorCriticPolicy, fresh: Rows) -> dict[str, float]:
        """Measure the round as a whole, on some of its fresh rows.

        Args:
            policy: After the round's last step.
            fresh: The fresh rows.

        Returns:
            `decision_variance`, per decision, and `ratio_variance`, of the whole actions.
        """
        some = fresh.select(torch.arange(0, len(fresh), MEASURED_AGAIN), torch.device("cpu"))
        now = evaluate(policy, some.observations, some.actions).log_probs
        mask = torch.ones_like(now, dtype=torch.bool)[:, None]
        self._last_round = logit_movement(
            now[:, None], some.old_log_probs[:, None], mask, decisions=some.decisions[:, None]
        )
        movement = float(self._last_round.value())
        ratio = (now - some.old_log_probs).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).expm1()
        return {
            "decision_variance": math.expm1(min(movement, 2 * LOG_RATIO_BOUND)),
            "ratio_variance": float(ratio.square().mean()),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the state: a copied optimizer has no hooks, so step control must not count as attached."""
        return _remade, (*self._made_with, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return what the next round depends on, as tensors and numbers."""
        return {
            "controls": self.controls.state_dict(),
            "last_round": self._last_round.to_tensor(),
            "replay": None if self.replay is None else self.replay.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Resume from the result of `state_dict`.

        Args:
            state: It. Segments are ignored if replay is off now.
            strict: Present because Stable-Baselines3 passes it; a missing key is an error in any case.

        Raises:
            ValueError: A key is missing.
        """
        check_state("rounds", state, self.state_dict())
        self.controls.load_state_dict(state["controls"])
        self._last_round = MovementSums.from_tensor(state["last_round"].cpu())
        if self.replay is not None and state["replay"] is not None:
            self.replay.load_state_dict(state["replay"])


def _of_one_process(sums: Tensor) -> Tensor:
    return sums


def _remade(options: SB3Options, seed: int, state: dict[str, Any]) -> Rounds:
    made = Rounds(options, seed)
    made.load_state_dict(state)
    return made

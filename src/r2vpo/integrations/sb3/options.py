"""Options of R²VPO under Stable-Baselines3: those of the method, and the replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from r2vpo.core.declaration import option, same_as
from r2vpo.core.method_options import MethodOptions, ObjectiveOptions
from r2vpo.core.options import BufferOptions

DELTA = 0.03
"""V_d that a round may reach, unlike for language models not per rollout: a round of control has one size."""


@dataclass(frozen=True)
class SB3Options(MethodOptions):
    """What `R2VPO` takes in addition to PPO's arguments."""

    delta: float = option(
        DELTA, "how far a round may move the policy: V_d, the ratio variance per decision", at_least=1e-9
    )
    replay_versions: int = same_as(BufferOptions, "versions", 0)
    replay_ratio: float = same_as(BufferOptions, "ratio", 1.0)

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.replay_versions > 0 and self.replay_ratio == 0:
            raise ValueError(
                f"replay_versions = {self.replay_versions} keeps transitions that replay_ratio = 0 never uses: set "
                "replay_ratio above 0, or replay_versions=0"
            )

    @classmethod
    def read(cls, *, objective: Any, delta: Any, **others: Any) -> SB3Options:
        """Read the arguments of `R2VPO`.

        Args:
            objective: A name, or a mapping with options of `ObjectiveOptions` but delta.
            delta: Of the objective, and of step control.
            others: The other options; None stands for the default.

        Raises:
            ValueError: A value is rejected, or delta is given twice.
        """
        if callable(delta):
            raise ValueError(
                "delta is a schedule, but must be a number: give one, and let a schedule of learning_rate shape the "
                "steps of the rounds"
            )
        given = ObjectiveOptions.given(objective)
        if isinstance(given, Mapping):
            if "delta" in given:
                raise ValueError("objective.delta is an argument of R2VPO itself: write R2VPO(..., delta=...)")
            checked = cls(delta=delta)  # so that the message names R2VPO's own argument
            given = {**given, "delta": checked.delta}
        known = {name: value for name, value in others.items() if value is not None}
        return cls.of({"objective": given, "delta": delta, **known}, "")

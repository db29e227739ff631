"""Rounds that teach nothing, said on the screen while they happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

ROUNDS = 3
"""Rounds in a row without signal after which it is said; it is said again whenever their number has doubled."""
_SHOWN = 200
_CUT = 0.9


class SignalWatch(TrainerCallback):
    """Says when no reward has differed within a group for several rounds: then no advantage, and no policy gradient.

    Args:
        trainer: whose rounds are watched.
        say: shows a line.
        longest: the most tokens of a completion.
    """

    def __init__(self, trainer: Any, say: Callable[[str], None], *, longest: int) -> None:
        self.trainer, self.say, self.longest = trainer, say, longest
        self.in_a_row = 0
        self._round: float | None = None
        self._next = ROUNDS

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Count the round of a step's logs, once."""
        if not logs or "signal" not in logs or logs.get("round") == self._round:
            return
        self._round = logs.get("round")
        if logs["signal"] > 0:
            self.in_a_row, self._next = 0, ROUNDS
            return
        self.in_a_row += 1
        if self.in_a_row == self._next:
            self._next *= 2
            self.say(self.line(logs))

    def line(self, logs: Mapping[str, Any]) -> str:
        """What has happened, a completion with its rewards, and what to look at.

        Args:
            logs: those of the present round.
        """
        found = self.trainer._logs
        completion = list(found["completion"])[-1:]
        rewards = {name: list(values)[-1] for name, values in found["rewards"].items() if values}
        scores = self.trainer._rewards
        unscored = scores is not None and bool(torch.isnan(scores).all())
        shown = ""
        if completion and rewards:
            values = ", ".join(
                f"{name} {'None' if value != value else f'{value:g}'}" for name, value in rewards.items()
            )
            shown = f" One completion: {_text(completion[0])[:_SHOWN]!r}, rewards: {values}."
        return (
            f"warning: no signal for {self.in_a_row} rounds: no reward differed within a group, so that nothing was "
            f"learned.{shown} {self._cause(unscored, logs)}"
        )

    def _cause(self, unscored: bool, logs: Mapping[str, Any]) -> str:
        if unscored:
            return "The reward gives None for every completion: look at what it needs from the data's columns."
        if logs.get("completion_length", 0.0) >= _CUT * self.longest:
            return (
                f"Answers are cut at rollout.max_new_tokens = {self.longest}: raise it, or name what ends an answer in "
                "rollout.stop."
            )
        if logs.get("reward_std", 0.0) > 0:
            return "Some problems are always solved and the others never: add problems of a difficulty in between."
        return (
            f"Every reward is {logs.get('reward', 0.0):g}: look whether the reward finds the answer in such a text, "
            "whether the problems are too hard or too easy for this model, and whether a chat model is given its chat "
            "template (data.system_prompt, or prompts that are messages)."
        )


def _text(completion: Any) -> str:
    if isinstance(completion, list):
        return "\n".join(str(message.get("content", "")) for message in completion)
    return str(completion)

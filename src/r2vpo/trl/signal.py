"""Warn about rounds without signal, in which no reward differed from those it is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from r2vpo.rewards.text import text_of

ROUNDS = 2
"""Consecutive rounds without signal after which the warning is shown; it is repeated whenever the number doubles."""
_SHOWN = 200
_CUT = 0.5
"""Share of completions at the length limit from which they count as cut off."""


def warn(line: str) -> None:
    """Show a line as a Python warning."""
    warnings.warn(line, UserWarning, stacklevel=2)


class SignalWatch:
    """Counter of rounds without signal, in which no row has an advantage; warns after several in a row.

    Args:
        say: function that shows a line.
        in_groups: whether rewards are compared within groups, not over the round as with a critic.

    Attributes:
        say: function that shows a line; the command line sets it to its display.
        in_a_row: consecutive rounds without signal up to the current one.
    """

    def __init__(self, say: Callable[[str], None] = warn, *, in_groups: bool = True) -> None:
        self.say, self.in_a_row = say, 0
        self._compared = " within a group" if in_groups else ""
        self._next = ROUNDS

    def round(self, signal: float, describe: Callable[[], str]) -> None:
        """Count a round.

        Args:
            signal: share of its fresh rows that have an advantage.
            describe: returns a completion with its rewards and a likely cause; called only if a warning is shown.
        """
        if signal > 0:
            self.in_a_row, self._next = 0, ROUNDS
            return
        self.in_a_row += 1
        if self.in_a_row == self._next:
            self._next *= 2
            self.say(
                f"no signal for {self.in_a_row} rounds: no reward differed{self._compared}, so nothing was "
                f"learned.{describe()}"
            )


def describe_round(
    logged: Mapping[str, Any], statistics: Mapping[str, float], *, longest: int | None, raw_text: bool
) -> str:
    """Describe a completion with its rewards, and what to try.

    Args:
        logged: TRL's `completion` and `rewards` of the last rounds.
        statistics: `reward`, `reward_std` and `completion_truncated` of the round.
        longest: maximum number of tokens of a completion; None for no limit.
        raw_text: whether a model with a chat template is given plain text.
    """
    completion = list(logged["completion"])[-1:]
    rewards = {name: list(values)[-1] for name, values in logged["rewards"].items() if values}
    shown = ""
    if completion and rewards:
        values = ", ".join(f"{name} {'None' if value != value else f'{value:g}'}" for name, value in rewards.items())
        shown = f" One completion: {text_of(completion[0])[:_SHOWN]!r}, rewards: {values}."
    if rewards and all(value != value for value in rewards.values()):
        return f"{shown} The reward gives None for every completion: check which data columns it needs."
    return f"{shown} {_advice(statistics, longest=longest, raw_text=raw_text)}"


def _advice(statistics: Mapping[str, float], *, longest: int | None, raw_text: bool) -> str:
    cut = statistics["completion_truncated"]
    if longest is not None and cut >= _CUT:
        return (
            f"{100 * cut:.0f} % of the completions are cut off at max_completion_length = {longest}: raise it (in a "
            "recipe rollout.max_new_tokens), or set the text that ends an answer in rollout.stop."
        )
    if statistics["reward_std"] > 0:
        return "Some problems are always solved and the others never: add problems of intermediate difficulty."
    reward = statistics["reward"]
    if reward >= 1:
        return f"Every reward is {reward:g}: these problems are too easy for this model, so give it harder ones."
    chat = (
        " or, because this model has a chat template and its prompts are plain text, give it chats (prompts that are "
        "lists of messages, in a recipe data.format=chat)"
    )
    return (
        f"Every reward is {reward:g}: check whether the reward finds the answer in such a text (`r2vpo rewards check` "
        f"scores completions of yours), try easier problems{chat if raw_text else ''}."
    )

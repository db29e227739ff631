"""What answers of a log are worth: feedback that was given on them, or the scores of a reward function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2vpo.errors import UserError
from r2vpo.recording import left_out
from r2vpo.recording.left_out import Unusable
from r2vpo.rewards.check import call_on_columns
from r2vpo.rewards.identity import OPTIONS, describe_reward, reward_version
from r2vpo.rewards.scores import is_number, listed, not_a_text
from r2vpo.rewards.undisturbed import told


@dataclass(frozen=True)
class Scored:
    """An answer's score.

    Attributes:
        score: The weighted sum.
        parts: By the name of the column or the function.
    """

    score: float
    parts: Mapping[str, float]


class FeedbackReward:
    """The weighted sum of columns of feedback. A column that an answer lacks does not count; true is 1, false is 0.

    Args:
        weights: Weight of each column.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        columns = [_Column(name) for name in weights]
        values = list(weights.values())
        self.version = reward_version(columns, list(weights), values)
        self.description = describe_reward([f"feedback {name}" for name in weights], values)

    def scored(self, given: Mapping[str, Any] | None) -> Scored:
        """Return the score of an answer with this feedback.

        Raises:
            Unusable: It has none of the columns, or not a number in one.
        """
        parts = {name: (given or {})[name] for name in self._weights if (given or {}).get(name) is not None}
        if not parts:
            raise Unusable(left_out.NO_FEEDBACK)
        for name, value in parts.items():
            if not is_number(value):
                raise Unusable(left_out.NOT_A_NUMBER, f"{name} is {json.dumps(value)}"[:60])
        numbers = {name: float(value) for name, value in parts.items()}
        score = sum(self._weights[name] * value for name, value in numbers.items())
        if not is_number(score):
            raise Unusable(left_out.NOT_A_NUMBER, f"the weighted sum is {score}")
        return Scored(score, numbers)


class FunctionReward:
    """A reward function, called as in training.

    Args:
        function: The function.
        name: What the user calls it.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name
        self._key = getattr(function, "__name__", type(function).__name__)
        self.version = reward_version([function], [self._key], [1.0])
        self.description = describe_reward([self._key], [1.0])

    def scored(
        self, columns: Sequence[Mapping[str, Any]], texts: Sequence[str], ids: Sequence[list[int]]
    ) -> list[Scored | None]:
        """Return the scores of answers; None where the function gives none.

        Args:
            columns: The row of the data of each answer, `prompt` among them; all rows have the same columns.
            texts: What the answers decode to.
            ids: Their tokens.

        Raises:
            UserError: The function fails, or returns something other than a number or None for each answer.
        """
        try:
            found = listed(call_on_columns(self._function, columns, texts, ids), len(texts))
        except KeyboardInterrupt:
            raise
        except UserError:
            raise
        except BaseException as error:  # it may raise anything
            chats = [column["prompt"] for column in columns if isinstance(column["prompt"], list)]
            remedy = not_a_text(error, chats) or "pass the columns of the log that it needs with --columns"
            raise UserError(f"reward {self._name!r} raises {type(error).__name__}: {told(error)}: {remedy}") from error
        if not isinstance(found, list) or len(found) != len(texts):
            raise UserError(f"reward {self._name!r} does not return one score for each of {len(texts)} answers")
        for score in found:
            if score is not None and not is_number(score):
                raise UserError(f"reward {self._name!r} returns {score!r}: make it return finite numbers")
        return [None if score is None else Scored(float(score), {self._key: float(score)}) for score in found]


class _Column:
    """What tells a column of feedback from a function, for the reward's version."""

    def __init__(self, name: str) -> None:
        setattr(self, OPTIONS, json.dumps({"feedback": name}))

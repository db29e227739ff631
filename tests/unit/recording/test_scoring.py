"""Feedback and reward functions give answers their scores."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.recording import left_out
from r2vpo.recording.left_out import Unusable
from r2vpo.recording.scoring import FeedbackReward, FunctionReward
from r2vpo.rewards import load_reward


def test_feedback_is_weighted() -> None:
    reward = FeedbackReward({"thumb": 1.0, "edited": -0.5})
    both = reward.scored({"thumb": True, "edited": 0.5, "comment": "fine"})
    assert both.score == 0.75 and both.parts == {"thumb": 1.0, "edited": 0.5}
    assert reward.scored({"edited": 1}).score == -0.5, "a column that is missing does not count"
    assert reward.description == "feedback thumb + -0.5 feedback edited"


@pytest.mark.parametrize("given", [None, {}, {"comment": "fine"}, {"thumb": None}])
def test_without_feedback_there_is_no_score(given: dict[str, Any] | None) -> None:
    with pytest.raises(Unusable) as found:
        FeedbackReward({"thumb": 1.0}).scored(given)
    assert found.value.reason is left_out.NO_FEEDBACK


@pytest.mark.parametrize("value", ["up", float("nan"), float("inf"), [1], 10**400])
def test_feedback_is_a_number(value: Any) -> None:
    with pytest.raises(Unusable) as found:
        FeedbackReward({"thumb": 1.0}).scored({"thumb": value})
    assert found.value.reason is left_out.NOT_A_NUMBER


def test_a_sum_that_is_too_large_is_no_score() -> None:
    with pytest.raises(Unusable) as found:
        FeedbackReward({"thumb": 1e30, "edited": 1e30}).scored({"thumb": 1e38, "edited": 1e38})
    assert found.value.reason is left_out.NOT_A_NUMBER


def test_versions_differ_with_columns_and_weights() -> None:
    rewards = [{"thumb": 1.0}, {"thumb": 2.0}, {"stars": 1.0}, {"thumb": 1.0, "stars": 1.0}]
    assert len({FeedbackReward(weights).version for weights in rewards}) == 4
    assert FeedbackReward({"thumb": 1.0}).version == FeedbackReward({"thumb": 1.0}).version


def test_rewards_of_r2vpo_are_called_with_columns_and_chats() -> None:
    reward = FunctionReward(load_reward("numeric"), "numeric")
    chat = {"prompt": [{"role": "user", "content": "7+8="}], "answer": "15"}
    found = reward.scored([chat, chat], ["It is 15.", "It is 16."], [[1], [2]])
    assert [one.score for one in found if one is not None] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda prompts, completions, gold, **_: [1.0], "TypeError.*--columns"),
        (lambda prompts, completions, **_: [1.0, 2.0], "does not return one score for each of 1 answers"),
        (lambda prompts, completions, **_: ["good"], "returns 'good': make it return finite numbers"),
    ],
)
def test_a_function_that_fails_is_named(function: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"reward 'mine'.*{message}"):
        FunctionReward(function, "mine").scored([{"prompt": "7+8="}], ["15"], [[3, 7]])


def test_a_missing_column_is_said_of_chats_too() -> None:
    def graded(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        return [0.0]

    chat = {"prompt": [{"role": "user", "content": "7+8="}]}
    with pytest.raises(UserError, match="'answer': pass the columns of the log that it needs with --columns"):
        FunctionReward(graded, "graded").scored([chat], ["15"], [[3, 7]])

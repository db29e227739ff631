"""Rounds without signal are said on the screen, once they are several in a row, with a completion and the cause."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_trainer


def lines(folder: Path, reward: Any, *, rounds: int = 4, **changes: Any) -> list[str]:
    """What is said during a real run of so many rounds of two steps."""
    said: list[str] = []
    options = {"max_completion_length": 60} | changes
    trainer = tiny_trainer(folder, reward=reward, max_steps=2 * rounds, **options)
    trainer.signal_watch.say = said.append
    trainer.train()
    assert all("\n" not in line for line in said)
    return said


def constant(value: float | None) -> Any:
    def reward(completions: list[str], **_: Any) -> list[float | None]:
        return [value] * len(completions)

    return reward


@pytest.mark.parametrize("skip", [False, True])
def test_a_reward_that_is_always_the_same(tmp_path: Path, skip: bool) -> None:
    line, _ = lines(tmp_path, constant(0.0), skip_zero_advantage=skip)
    assert line.startswith("no signal for 2 rounds: no reward differed within a group")
    assert "One completion: '" in line and "rewards: reward 0." in line
    assert "Every reward is 0: check whether the reward finds the answer" in line and "try easier problems." in line


def test_a_reward_that_is_always_one_asks_for_harder_problems(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, constant(1.0), rounds=2)
    assert "Every reward is 1: these problems are too easy" in line and "cut off" not in line


def test_plain_text_for_a_model_with_a_chat_template(tmp_path: Path) -> None:
    said: list[str] = []
    trainer = tiny_trainer(tmp_path, reward=constant(0.0), max_steps=4, max_completion_length=60)
    trainer.processing_class.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    trainer.signal_watch.say = said.append
    trainer.train()
    assert "because this model has a chat template and its prompts are plain text" in said[0]


def test_a_reward_of_a_tenth_has_no_signal_either(tmp_path: Path) -> None:
    # Its mean over a group is rounded.
    assert len(lines(tmp_path, constant(0.1), rounds=2)) == 1


def test_a_reward_that_is_always_none(tmp_path: Path) -> None:
    line, _ = lines(tmp_path, constant(None))
    assert "rewards: reward None." in line and "The reward gives None for every completion" in line


def test_python_warns(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, reward=constant(0.0), max_steps=8)
    with pytest.warns(UserWarning, match="no signal for 2 rounds"):
        trainer.train()
    assert trainer.signal_watch.in_a_row == 4


def test_answers_that_are_cut(tmp_path: Path) -> None:
    line, _ = lines(tmp_path, constant(0.0), max_completion_length=6)
    assert re.search(r"\d+ % of the completions are cut off at max_completion_length = 6: raise it", line)


def test_without_a_limit_no_answer_is_called_cut(tmp_path: Path) -> None:
    line, _ = lines(tmp_path, constant(0.0), max_completion_length=None, rollout="trl")
    assert "Every reward is 0" in line and "cut" not in line


def test_problems_of_which_none_is_in_between(tmp_path: Path) -> None:
    def by_problem(prompts: list[str], **_: Any) -> list[float]:
        return [float(int(prompt.split("+")[0]) % 2) for prompt in prompts]

    line, _ = lines(tmp_path, by_problem)
    assert "Some problems are always solved and the others never" in line


def test_it_is_said_again_when_the_number_has_doubled_and_not_while_there_is_signal(tmp_path: Path) -> None:
    said = lines(tmp_path, constant(0.0), rounds=7)
    assert [line.split()[3] for line in said] == ["2", "4"]
    calls = iter(range(1000))

    def every_second(completions: list[str], **_: Any) -> list[float]:
        signal = next(calls) % 2 == 1
        return [float(place % 2) if signal else 0.0 for place in range(len(completions))]

    assert lines(tmp_path, every_second, rounds=7) == []

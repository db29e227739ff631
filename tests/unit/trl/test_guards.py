from __future__ import annotations

import asyncio
import io
import itertools
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from r2vpo.data import PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards.check import call_reward
from r2vpo.trl.guards import guard_reward, no_brake_reason


def scores(values: list[float | None], prompts: list[str], completions: list[str], **_: object) -> list[float | None]:
    return values


def call(function: object) -> object:
    return function(prompts=["p", "q"], completions=["a", "b"])  # type: ignore[operator]


def test_good_scores_and_none_pass() -> None:
    guarded = guard_reward(partial(scores, [1.0, None]))
    assert guarded.__name__ == "scores"
    assert call(guarded) == [1.0, None]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_a_score_that_is_no_number_names_function_and_row(value: float) -> None:
    with pytest.raises(UserError, match=r"'scores' returned (nan|inf|1e.300) for completion 1: 'b'"):
        call(guard_reward(partial(scores, [1.0, value])))


def test_scores_without_an_end_are_refused() -> None:
    endless = guard_reward(partial(scores, itertools.repeat(1.0)))
    with pytest.raises(UserError, match="'scores' returned 3 or more scores for 2 completions"):
        call(endless)
    with pytest.raises(UserError, match="'scores' returned 3 or more scores for 2 completions"):
        guard_reward(lambda prompts, completions: itertools.repeat(1.0), "scores")(["p", "q"], completions=["a", "b"])
    assert guard_reward(lambda prompts, completions: iter([1.0, 0.5]))(["p", "q"], ["a", "b"]) == [1.0, 0.5]


def test_scores_without_a_text_are_named_by_their_class() -> None:
    class Leaving:
        def __repr__(self) -> str:
            sys.exit(0)

    with pytest.raises(UserError, match="'scores' returned a list; return a list with a number for each row"):
        call(guard_reward(partial(scores, [Leaving(), 1.0])))


def test_ctrl_c_in_an_asynchronous_function_is_ctrl_c() -> None:
    async def waits(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)
        return [0.0]

    # A process that a shell starts in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call_reward(guard_reward(waits), [PromptRow("p", "a")], ["c"], [[1]])
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_wrong_count_is_told() -> None:
    with pytest.raises(UserError, match="returned 1 scores for 2 completions"):
        call(guard_reward(partial(scores, [1.0])))


@pytest.mark.parametrize("values", [None, ["good", "bad"], 1.0])
def test_what_is_no_list_of_numbers_is_told(values: object) -> None:
    with pytest.raises(UserError, match=r"'scores' returned .*; return a list with a number"):
        call(guard_reward(partial(scores, values)))


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([1.0, 0.5]),
        torch.tensor([1.0, 0.5], dtype=torch.bfloat16),
        np.array([1.0, 0.5], dtype=np.float32),
        [torch.tensor(1.0), np.float64(0.5)],
        (value for value in (1.0, 0.5)),
        (1, 0.5),
        map(float, ("1", "0.5")),
    ],
    ids=lambda values: type(values).__name__,
)
def test_scores_may_be_anything_that_holds_numbers(values: object) -> None:
    found = call(guard_reward(partial(scores, values)))
    assert found == [1.0, 0.5]
    assert [type(score) for score in found] == [float, float]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (torch.tensor([1.0, float("nan")]), "returned nan for completion 1"),
        (torch.tensor([1.0]), "returned 1 scores for 2"),
        (torch.tensor(1.0), "return a list with a number"),
        (torch.tensor([[1.0], [2.0]]), "return a list with a number"),
        ({"a": 1.0, "b": 2.0}, "return a list with a number"),
        ("ab", "return a list with a number"),
        ((1 / 0 for _ in range(2)), "raised ZeroDivisionError"),
    ],
)
def test_what_such_scores_lack_is_told(values: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call(guard_reward(partial(scores, values)))


def test_an_object_with_an_asynchronous_call_is_awaited() -> None:
    class Judge:
        async def __call__(self, prompts: list[str], completions: list[str], **_: object) -> torch.Tensor:
            await asyncio.sleep(0)
            return torch.tensor([1.0, 2.0])

    guarded = guard_reward(Judge())
    assert asyncio.run(guarded(prompts=["p", "q"], completions=["a", "b"])) == [1.0, 2.0]


def test_objects_that_can_be_called_are_guarded() -> None:
    class Judge:
        def __call__(self, prompts: list[str], completions: list[str], **_: object) -> list[float]:
            raise OSError("no connection")

    with pytest.raises(UserError, match="'Judge' raised OSError: no connection"):
        call(guard_reward(Judge()))


def test_an_exception_becomes_one_line() -> None:
    def breaks(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        raise KeyError("gold")

    with pytest.raises(UserError, match="'breaks' raised KeyError: 'gold'"):
        call(guard_reward(breaks))


def test_a_reward_function_that_exits_does_not_end_the_run_as_a_success() -> None:
    def leaves(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        sys.exit(0)

    async def leaves_later(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        sys.exit(0)

    with pytest.raises(UserError, match="'leaves' raised SystemExit: 0"):
        call(guard_reward(leaves))
    with pytest.raises(UserError, match="'leaves_later' raised SystemExit: 0"):
        asyncio.run(guard_reward(leaves_later)(prompts=["p"], completions=["a"]))


def test_what_a_function_sets_in_torch_does_not_reach_training() -> None:
    def set_up(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return [0.0] * len(prompts)

    async def set_up_later(**columns: Any) -> list[float]:
        return set_up(**columns)

    def set_up_more(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        torch.set_default_device("meta")
        torch.autocast("cpu", dtype=torch.bfloat16).__enter__()
        os.chdir("/")
        return [1.0] * len(prompts)

    folder = Path.cwd()
    assert call(guard_reward(set_up)) == [0.0, 0.0] and call(guard_reward(set_up_more)) == [1.0, 1.0]
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    assert not torch.is_autocast_enabled("cpu") and torch.zeros(1).device.type == "cpu" and Path.cwd() == folder
    assert asyncio.run(guard_reward(set_up_later)(prompts=["p"], completions=["a"])) == [0.0]
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


def test_output_that_a_function_takes_away_is_put_back_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def silences(**columns: Any) -> list[float]:
        sys.stdout = sys.stderr = None
        return [0.0] * len(columns["prompts"])

    def closes(**columns: Any) -> list[float]:
        sys.stdout.close()
        return [0.0] * len(columns["prompts"])

    streams = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    assert call(guard_reward(silences)) == [0.0, 0.0] and (sys.stdout, sys.stderr) == streams
    with pytest.raises(UserError, match="'closes' raised RuntimeError: it closed standard output, which the whole"):
        call(guard_reward(closes))


def test_texts_that_exit_are_no_success_either() -> None:
    class Leaving(Exception):
        def __str__(self) -> str:
            sys.exit(0)

    class Number(float):
        def __str__(self) -> str:
            sys.exit(0)

    def raises(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        raise Leaving

    def counts(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        return [10**5000] * len(prompts)

    with pytest.raises(UserError, match="'raises' raised Leaving: without a text"):
        call(guard_reward(raises))
    with pytest.raises(UserError, match=r"'counts' (returned|raised)"):
        call(guard_reward(counts))
    with pytest.raises(UserError, match="'scores' returned inf for completion 0"):
        call(guard_reward(partial(scores, [Number("inf"), 0.0])))


def test_async_functions_are_guarded_too() -> None:
    async def later(prompts: list[str], completions: list[str], **_: object) -> list[float]:
        return [float("nan"), 1.0]

    with pytest.raises(UserError, match="'later' returned nan"):
        asyncio.run(guard_reward(later)(prompts=["p", "q"], completions=["a", "b"]))


def test_names_of_models_pass_untouched() -> None:
    assert guard_reward("org/reward-model") == "org/reward-model"
    assert guard_reward(None) is None


@pytest.mark.parametrize(
    ("steps", "versions", "anchor", "constrained", "setting"),
    [
        (1, 0, "proximal", True, "set replay.versions"),
        (1, 5, "proximal", True, "objective.anchor to behavior"),
        (1, 5, "behavior", True, None),
        (2, 0, "proximal", True, None),
        (1, 0, "proximal", False, None),
    ],
)
def test_when_the_penalty_cannot_act(
    steps: int, versions: int, anchor: str, constrained: bool, setting: str | None
) -> None:
    reason = no_brake_reason(constrained=constrained, anchor=anchor, steps_per_round=steps, versions=versions)
    assert (reason is None) == (setting is None)
    if setting is not None:
        assert setting in reason


class Silent(BaseException):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_what_is_no_exception_and_what_has_no_text_is_named() -> None:
    def raises(**_: object) -> list[float]:
        raise Silent

    with pytest.raises(UserError, match="'raises' raised Silent: without a text; fix it"):
        guard_reward(raises)(prompts=["p"], completions=["c"])


def test_a_function_may_change_its_lists() -> None:
    def clears(prompts: list[str], completions: list[str], answer: list[str]) -> list[float]:
        scores = [1.0 for _ in completions]
        completions.clear()
        answer[:] = ["x"]
        return scores

    columns = {"prompts": ["p", "q"], "completions": ["c", "d"], "answer": ["a", "b"]}
    assert guard_reward(clears)(**columns) == [1.0, 1.0]
    assert columns == {"prompts": ["p", "q"], "completions": ["c", "d"], "answer": ["a", "b"]}


def test_completions_that_are_messages_are_named() -> None:
    def reward(completions: list[str], **columns: Any) -> list[float]:
        return [float("7" in text.lower()) for text in completions]

    guarded = guard_reward(reward)
    assert guarded(prompts=["?"], completions=["7"]) == [1.0]
    with pytest.raises(UserError, match=r"AttributeError.*; completions are lists of messages here"):
        guarded(prompts=["?"], completions=[[{"role": "assistant", "content": "7"}]])
    with pytest.raises(UserError, match="fix it or catch the case there"):
        guarded(prompts=["?"], completions=[7])

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from r2vpo.errors import UserError
from r2vpo.trl.guards import guard_reward, no_brake_reason, refuse_unsupported


def scores(values: list[float | None], prompts: list[str], completions: list[str], **_: object) -> list[float | None]:
    return values


def call(function: object) -> object:
    return function(prompts=["p", "q"], completions=["a", "b"])  # type: ignore[operator]


def test_good_scores_and_none_pass() -> None:
    guarded = guard_reward(partial(scores, [1.0, None]))
    assert guarded.__name__ == "scores"
    assert call(guarded) == [1.0, None]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_names_function_and_row(value: float) -> None:
    with pytest.raises(UserError, match=r"'scores' returned (nan|inf) for completion 1: 'b'"):
        call(guard_reward(partial(scores, [1.0, value])))


def test_a_wrong_count_is_told() -> None:
    with pytest.raises(UserError, match="returned 1 scores for 2 completions"):
        call(guard_reward(partial(scores, [1.0])))


@pytest.mark.parametrize("values", [None, ["good", "bad"], 1.0])
def test_what_is_no_list_of_numbers_is_told(values: object) -> None:
    with pytest.raises(UserError, match=r"'scores' returned .*; return a list with a number"):
        call(guard_reward(partial(scores, values)))


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
        (1, 0, "proximal", True, "set replay_versions"),
        (1, 5, "proximal", True, "anchor='behavior'"),
        (1, 5, "behavior", True, None),
        (2, 0, "proximal", True, None),
        (1, 0, "proximal", False, None),
    ],
)
def test_when_the_penalty_cannot_act(
    steps: int, versions: int, anchor: str, constrained: bool, setting: str | None
) -> None:
    reason = no_brake_reason(constrained=constrained, anchor=anchor, steps_per_round=steps, replay_versions=versions)
    assert (reason is None) == (setting is None)
    if setting is not None:
        assert setting in reason


@pytest.mark.parametrize("what", ["aux_loss", "vision", "tools"])
def test_what_would_be_trained_wrongly_is_refused(what: str) -> None:
    flags = dict(aux_loss=False, vision=False, tools=False, own_sampler=True)
    refuse_unsupported(**flags)
    with pytest.raises(UserError):
        refuse_unsupported(**(flags | {what: True}))
    if what == "tools":
        refuse_unsupported(**(flags | {"tools": True, "own_sampler": False}))

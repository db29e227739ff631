"""Checks of what users pass to the trainer: reward functions, the shape of a round."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import torch
from trl.trainer.utils import get_callable_name, is_async_callable

from r2vpo.errors import UserError
from r2vpo.rewards.scores import counted, is_number, listed, not_a_text
from r2vpo.rewards.undisturbed import shown, told, undisturbed

_MANY = 1_000_000
"""Most scores read from an iterator if the number wanted is unknown."""


def guard_reward(function: Any, name: str | None = None) -> Any:
    """Wrap a reward function so that an exception or a NaN names the function and the row.

    Args:
        function: A reward function with TRL's signature, sync or async, or an object that is called like one; models
            and their names are returned unchanged. Scores may be a list, a tensor, an array or any other iterable;
            None is allowed as a score (the function does not apply to that row).
        name: Its name in errors; None for its own name.

    Returns:
        The guarded function, whose scores are a list of floats and None.

    Raises:
        UserError: When called: the function raised, returned the wrong number of scores, or a score that is not a
            finite number.
    """
    if not callable(function) or isinstance(function, torch.nn.Module):
        return function
    name = get_callable_name(function) if name is None else name

    guarded: Callable[..., Any]
    if is_async_callable(function):

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                with undisturbed():
                    scores = listed(await function(*args, **_copies(kwargs)), _count(args, kwargs))
                    await asyncio.sleep(0)  # notices here if the function stopped the loop
                return _checked(name, scores, kwargs.get("completions"))
            except (KeyboardInterrupt, _Unusable):
                raise
            except BaseException as error:  # sys.exit would end the run as if it had succeeded
                if _interrupted(error):
                    raise
                raise _raised(name, error, kwargs) from error
    else:

        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                with undisturbed():
                    scores = listed(function(*args, **_copies(kwargs)), _count(args, kwargs))
                return _checked(name, scores, kwargs.get("completions"))
            except (KeyboardInterrupt, _Unusable):
                raise
            except BaseException as error:  # sys.exit would end the run as if it had succeeded
                raise _raised(name, error, kwargs) from error

    guarded.__name__ = name
    return guarded


def _copies(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns with copied lists, since a function may modify its arguments."""
    return {key: list(value) if isinstance(value, list) else value for key, value in columns.items()}


def _count(given: Sequence[Any], columns: dict[str, Any]) -> int:
    """Return the number of scores expected from a function, or an upper bound if it is unknown."""
    # An environment's own reward may be called with only its environments.
    lists = [columns.get(key) for key in ("completions", "prompts", "environments")] + [*given]
    return next((len(rows) for rows in lists if isinstance(rows, Sequence)), _MANY)


def _interrupted(error: BaseException) -> bool:
    """Return whether Ctrl-C cancels the task: `asyncio` then expects its own error, which has no message."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and not error.args and task is not None and task.cancelling() > 0


def _raised(name: str, error: BaseException, columns: dict[str, Any]) -> UserError:
    remedy = not_a_text(error, columns.get("completions")) or "fix it or catch the case there"
    return UserError(f"reward function {name!r} raised {type(error).__name__}: {told(error)}; {remedy}")


class _Unusable(UserError):
    """A function returned something that is not a list of scores."""


def _checked(name: str, scores: Any, completions: Sequence[Any] | None) -> list[float | None]:
    if not isinstance(scores, list) or not all(isinstance(score, Real | None) for score in scores):
        raise _Unusable(f"reward function {name!r} returned {shown(scores)}; return a list with a number for each row")
    completions = [""] * len(scores) if completions is None else completions
    if len(scores) != len(completions):
        raise _Unusable(
            f"reward function {name!r} returned {counted(scores, len(completions))} scores for {len(completions)} "
            "completions; return one each"
        )
    for row, score in enumerate(scores):
        if score is not None and not is_number(score):
            raise _Unusable(
                f"reward function {name!r} returned {shown(score)} for completion {row}: "
                f"{str(completions[row])[:80]!r}; "
                "return a finite number, or None where the function does not apply"
            )
    return scores


def no_brake_reason(*, constrained: bool, anchor: str, steps_per_round: int, versions: int) -> str | None:
    """Return why the penalty of an objective with a multiplier cannot act with these settings, or None.

    With one optimizer step per round the proximal ratio is 1 at every step, so V and its gradient are zero.
    """
    if not constrained or steps_per_round > 1:
        return None
    if versions == 0:
        return (
            "one optimizer step per generation and no replay: the ratio is always 1, so the penalty cannot act "
            "and this is plain policy gradient; raise steps_per_generation or num_iterations, or set replay.versions "
            "(in a recipe also trainer.optimizer_steps_per_round)"
        )
    if anchor == "proximal":
        return (
            "one optimizer step per generation with objective.anchor = proximal: the ratio is always 1, so the penalty "
            "cannot act (stale rows are still weighted); "
            "raise steps_per_generation or num_iterations, or set objective.anchor to behavior"
        )
    return None


def note_dropout(peft_config: Any) -> None:
    """Warn that the requested dropout of adapters is off.

    Args:
        peft_config: PEFT's options of the adapters, or None.
    """
    dropout = getattr(peft_config, "lora_dropout", 0.0)
    if dropout:
        warnings.warn(
            f"lora_dropout={dropout:g} is off: with dropout each forward pass draws a new mask, so the ratio of an "
            "unchanged policy is not 1; set lora_dropout=0",
            UserWarning,
            stacklevel=3,
        )

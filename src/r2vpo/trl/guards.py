"""Checks around what users and upstream hand to the trainer: reward functions, the model, the shape of a round."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch

from r2vpo.errors import UserError


def guard_reward(function: Any) -> Any:
    """Wrap a reward function so that an exception or a NaN names the function and the row.

    Args:
        function: A reward function of TRL's signature, sync or async; models and names are returned as they are. None
            is allowed as a score (the function does not apply to that row).

    Returns:
        The guarded function, under the same name.

    Raises:
        UserError: When called: the function raised, returned the wrong number of scores, or a score that is no finite
            number.
    """
    if not callable(function) or isinstance(function, torch.nn.Module):
        return function
    named = function.func if isinstance(function, functools.partial) else function
    name = getattr(named, "__name__", type(named).__name__)

    if inspect.iscoroutinefunction(function):

        async def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                scores = await function(*args, **kwargs)
            except Exception as error:
                raise _raised(name, error) from error
            return _checked(name, scores, kwargs.get("completions", ()))
    else:

        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                scores = function(*args, **kwargs)
            except Exception as error:
                raise _raised(name, error) from error
            return _checked(name, scores, kwargs.get("completions", ()))

    guarded.__name__ = name
    return guarded


def _raised(name: str, error: Exception) -> UserError:
    return UserError(
        f"reward function {name!r} raised {type(error).__name__}: {error}; mend it or catch the case there"
    )


def _checked(name: str, scores: Sequence[float | None], completions: Sequence[Any]) -> Sequence[float | None]:
    if not isinstance(scores, Sequence) or not all(isinstance(score, Real | None) for score in scores):
        raise UserError(
            f"reward function {name!r} returned {str(scores)[:80]}; return a list with a number for each row"
        )
    if len(scores) != len(completions):
        raise UserError(
            f"reward function {name!r} returned {len(scores)} scores for {len(completions)} completions; "
            "return one each"
        )
    for row, score in enumerate(scores):
        if score is not None and not math.isfinite(score):
            raise UserError(
                f"reward function {name!r} returned {score} for completion {row}: {str(completions[row])[:80]!r}; "
                "return a finite number, or None where the function does not apply"
            )
    return scores


def no_brake_reason(*, constrained: bool, anchor: str, steps_per_round: int, replay_versions: int) -> str | None:
    """Why the penalty of an objective with a multiplier cannot act with these settings, or None.

    With one optimizer step a round the proximal ratio is 1 at every step, so V and its gradient are zero.
    """
    if not constrained or steps_per_round > 1:
        return None
    if replay_versions == 0:
        return (
            "one optimizer step a generation and no replay: the ratio is always 1, so the penalty cannot act "
            "and this is plain policy gradient; raise steps_per_generation or num_iterations, or set replay_versions "
            "(in a recipe trainer.optimizer_steps_per_round, replay.versions)"
        )
    if anchor == "proximal":
        return (
            "one optimizer step a generation with anchor='proximal': the ratio is always 1, so the penalty "
            "cannot act (stale rows are weighted all the same); "
            "raise steps_per_generation or num_iterations, or set anchor='behavior'"
        )
    return None


def refuse_unsupported(*, aux_loss: bool, tools: bool, vision: bool, own_sampler: bool) -> None:
    """Refuse what the trainer would silently train wrongly.

    Raises:
        UserError: A mixture-of-experts auxiliary loss, images, or tools with a sampler that cannot call them.
    """
    if aux_loss:
        raise UserError(
            "the model's router auxiliary loss would be left out; set router_aux_loss_coef=0.0 to accept that"
        )
    if vision:
        raise UserError("vision-language models are not supported by R2VPOTrainer; use a text-only model")
    if tools and own_sampler:
        raise UserError("sampler='shared_prefix' cannot call tools; set sampler='trl' or use_vllm=True")

"""Checks of options and tensors whose one-line messages give value, bound and remedy."""

import math
import operator
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor


def check_number(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    finite: bool = True,
    remedy: str,
) -> None:
    """Reject a number that is NaN, infinite (unless `finite` is False) or out of its bounds.

    Args:
        name: The option's name, as the user writes it.
        value: The option's value.
        above: Exclusive lower bound.
        at_least: Inclusive lower bound.
        below: Exclusive upper bound.
        at_most: Inclusive upper bound.
        finite: Whether infinity is rejected.
        remedy: What to do instead; ends the message.

    Raises:
        ValueError: The value is not a number or is out of bounds; the message gives value, bounds and remedy.
    """
    bounds = []
    good = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    if finite:
        bounds.append("finite")
        good = good and math.isfinite(value)
    for bound, words, holds in (
        (above, "greater than", operator.gt),
        (at_least, "at least", operator.ge),
        (below, "less than", operator.lt),
        (at_most, "at most", operator.le),
    ):
        if bound is not None:
            bounds.append(f"{words} {bound:g}")
            good = good and holds(value, bound)
    if not good:
        raise ValueError(f"{name} is {value!r}, but must be a number, {' and '.join(bounds)}: {remedy}")


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Reject a value that is not among `choices`.

    Args:
        name: The option's name, as the user writes it.
        value: The option's value.
        choices: The values that are allowed.

    Raises:
        ValueError: The value is not allowed; the message lists those that are.
    """
    if value not in choices:
        allowed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} is {value!r}, but must be one of {allowed}: choose one of these")


def check_loss_inputs(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    rollout_log_probs: Tensor | None,
    decisions: Tensor | None = None,
) -> None:
    """Reject shapes and dtypes that would broadcast to a wrong result instead of failing.

    Args:
        log_probs: Must be (B, T).
        old_log_probs: Must be (B, T).
        advantages: Must be (B,) or (B, T).
        response_mask: Must be (B, T) bool.
        rollout_log_probs: Must be (B, T) or None.
        decisions: Must be (B, T) or None.

    Raises:
        ValueError: A shape or the mask's dtype is wrong; the message names the tensor.
    """
    shape = log_probs.shape
    if log_probs.dim() != 2:
        raise ValueError(f"log_probs has shape {tuple(shape)}, but must be (B, T): one row for each response")
    for name, tensor in (
        ("old_log_probs", old_log_probs),
        ("response_mask", response_mask),
        ("rollout_log_probs", rollout_log_probs),
        ("decisions", decisions),
    ):
        if tensor is not None and tensor.shape != shape:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, but log_probs has {tuple(shape)}: "
                "align both over the response tokens"
            )
    if response_mask.dtype != torch.bool:
        raise ValueError(f"response_mask is {response_mask.dtype}, but must be torch.bool: call .bool() on it")
    if advantages.shape not in (shape, shape[:1]):
        raise ValueError(
            f"advantages has shape {tuple(advantages.shape)}, but must be {tuple(shape[:1])} "
            f"or {tuple(shape)}: give one for each response or one for each token"
        )


def check_state(what: str, state: Mapping[str, object], wanted: Iterable[str]) -> None:
    """Raise a ValueError if the saved state of something lacks a key, as one that an earlier version wrote does."""
    if missing := sorted(set(wanted) - set(state)):
        raise ValueError(
            f"state of the {what} lacks {', '.join(missing)}: an earlier version of r2vpo wrote it, or only a part is "
            "left, so start a new run from its weights"
        )

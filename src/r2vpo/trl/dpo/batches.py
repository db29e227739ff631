"""What a micro-batch of pairs holds beside TRL's columns, and models whose output is changed on its way to the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

Batch = dict[str, Any]

REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
"""TRL's columns of the reference model's log-probs, (N,) each."""
_OWN = ("r2vpo_old_log_probs", "r2vpo_decisions", "r2vpo_advantages")


class Start(NamedTuple):
    """What is known of a micro-batch at its round's start.

    Attributes:
        old_log_probs: log pi_k, (2 N, T) nats: the chosen responses, then the rejected ones.
        decisions: `1 - 2 p + sum p^2 + 0.001`, (2 N, T).
        advantages: A, (2 N, T).
    """

    old_log_probs: Tensor
    decisions: Tensor
    advantages: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Self | None:
        """Return what a micro-batch holds; None for one that belongs to no round, as in an evaluation."""
        return cls(*(batch[name] for name in _OWN)) if all(name in batch for name in _OWN) else None

    def into(self, batch: Batch) -> None:
        """Store it in a micro-batch."""
        batch.update(zip(_OWN, self, strict=True))


def trl_columns(batch: Batch) -> Batch:
    """Return a micro-batch as TRL knows it."""
    return {name: value for name, value in batch.items() if name not in _OWN}


def model_columns(batch: Batch) -> Batch:
    """Return the arguments with which TRL calls a model for the log-probs of a micro-batch."""
    others = {*_OWN, *REFERENCE, "completion_mask"}
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    given = {name: value for name, value in batch.items() if name not in others}
    return given | {"labels": labels, "use_cache": False, "fused_lm_head": True}


def response_mask(batch: Batch) -> Tensor:
    """Return which of the log-probs belong to responses, (2 N, T) bool."""
    mask: Tensor = batch["completion_mask"][..., 1:].bool()
    return mask


def pairs(batch: Batch) -> int:
    """Return the number of pairs, N."""
    return len(batch["input_ids"]) // 2


class Through:
    """A model for TRL's loss, whose output is changed in place before the loss reads it.

    Args:
        model: The model.
        change: Called with the output of its fused head.
    """

    def __init__(self, model: Any, change: Callable[[Any], None]) -> None:
        self._model, self._change = model, change

    def __call__(self, **columns: Any) -> Any:
        """Return the model's output, changed if it is the fused head's."""
        output = self._model(**columns)
        if columns.get("fused_lm_head"):
            self._change(output)
        return output


class Evaluated:
    """A model that is evaluated without gradient, and whose log-probs are a leaf of which the loss is a function.

    Args:
        model: The model.

    Attributes:
        output: The output; None before the loss is computed.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.output: Any = None

    def __call__(self, **columns: Any) -> Any:
        """Return the model's output, with its log-probs as a leaf."""
        with torch.no_grad():
            self.output = self._model(**columns)
        self.output.log_probs = self.output.log_probs.detach().requires_grad_()
        return self.output

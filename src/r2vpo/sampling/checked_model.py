"""The model during a check: whether it can be called at all, and everything about it restored afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

from r2vpo.core.log_probs.float32_head import computes_in_float32

LARGE_ON_CPU = 12e9
"""Parameters above which a check on a CPU would take minutes."""


def weights_away(base: Any) -> str | None:
    """Explain why the model cannot be called here and now, as the reason for skipping the check; None if it can."""
    parameters = list(base.parameters())
    if any(parameter.is_meta for parameter in parameters):
        return "its weights are not in memory"
    if any(hasattr(p, "ds_id") or type(p).__name__ == "DTensor" or p.numel() == 0 for p in parameters):
        return "its weights are sharded over processes"
    size = sum(parameter.numel() for parameter in parameters)
    if size > LARGE_ON_CPU and parameters[0].device.type == "cpu":
        return f"{size / 1e9:.0f} billion parameters on a CPU would take minutes to check"
    return None


def fingerprint(base: Any) -> tuple[Any, ...]:
    """Return a value that changes if a model's weights, their location or the code that uses them change."""
    weights = [(name, id(p), p.data_ptr(), p._version, p.dtype) for name, p in base.named_parameters()]
    # Trainers turn `use_cache` off in the configuration; every path sets it explicitly.
    settings = str(base.config.to_dict() | {"use_cache": None}) + str(getattr(base, "generation_config", None))
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    return tuple(weights), settings, head is not None and computes_in_float32(head)


@contextmanager
def in_own_precision(base: Any) -> Iterator[None]:
    """Take off the autocast that accelerate has put around a model's forward, inside.

    Under it two paths differ by the rounding of bfloat16, which says nothing about the paths.

    Args:
        base: the model.
    """
    wrapped, original = (base.__dict__.get(name) for name in ("forward", "_original_forward"))
    if wrapped is None or original is None:
        yield
        return
    base.forward = original
    try:
        yield
    finally:
        base.forward = wrapped


@contextmanager
def numbers_restored(base: Any) -> Iterator[None]:
    """Restore the random states of torch, numpy and Python afterwards: some models draw in evaluation mode.

    Args:
        base: the model; the state of its devices is restored, since asking for that of another GPU would occupy it.
    """
    python, arrays = random.getstate(), numpy.random.get_state()
    devices = {parameter.device.index for parameter in base.parameters()} - {None}
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)

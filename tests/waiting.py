"""Counts where the host waits for a device: by what is dispatched, and on a device that a CPU pretends to be.

On a CPU nothing waits, and a tensor does not tell whether it would be on an accelerator elsewhere. `Away` is a tensor
that does: its values are those of a CPU tensor, its device is `AWAY`. It can be read only by what waits, and does not
mix with tensors of the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

AWAY = torch.device("meta")

WAITS = {
    f"aten::{name}"
    for name in (
        "_local_scalar_dense is_nonzero item equal nonzero masked_select repeat_interleave bincount "
        "unique_dim _unique2 unique_consecutive _unique"
    ).split()
}
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


def waits(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operation on an accelerator makes the host wait: its result, or its shape, depends on values."""
    if name in INDEXING:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return name in WAITS


class Counted(TorchDispatchMode):
    """Writes down what would wait if every tensor were on an accelerator, reading of numbers by `tolist` excepted."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if waits(func._schema.name, args):
            self.seen.append(func._schema.name)
        return func(*args, **(kwargs or {}))


class Away(Tensor):
    """A tensor on `AWAY`."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Away:
        return Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=AWAY
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Outside of a `Device` it is computed, too, and nobody counts.
        return Device().__torch_dispatch__(func, types, args, kwargs)

    def tolist(self) -> Any:
        return self.cpu().tolist()


class Device(TorchDispatchMode):
    """Computes what is on `AWAY`, and writes down each time the host waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        args, kwargs = tree_map(_claimed, args), tree_map(_claimed, kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        away = any(isinstance(tensor, Away) for tensor in tensors)
        goal = kwargs.get("device")
        lands = away if goal is None else torch.device(goal) == AWAY
        if not away and not lands:
            return func(*args, **kwargs)
        if away and any(not isinstance(tensor, Away) and tensor.dim() for tensor in tensors):
            raise AssertionError(f"{name} of tensors on two devices")
        if away and (waits(name, args) or not lands):
            self.seen.append(name)
        result = func(*tree_map(_opened, args), **tree_map(_opened, kwargs))
        if func._schema.is_mutable:
            return args[0]
        return tree_map(lambda leaf: Away(leaf) if lands and isinstance(leaf, Tensor) else leaf, result)


def _claimed(leaf: Any) -> Any:
    """A tensor that torch made on `AWAY` without asking, which has no values."""
    if isinstance(leaf, Tensor) and not isinstance(leaf, Away) and leaf.device == AWAY:
        assert not leaf.numel(), "a tensor was made on the device from Python numbers, which waits"
        return Away(torch.empty(leaf.shape, dtype=leaf.dtype))
    return leaf


def _opened(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.inner if isinstance(leaf, Away) else leaf


def sent_away(model: nn.Module) -> nn.Module:
    """Move a model to `AWAY`, in place; tied weights stay tied."""
    moved: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                away = moved.setdefault(id(parameter), nn.Parameter(Away(parameter.detach().clone())))
                module._parameters[name] = away
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Away(buffer.detach().clone())
    return model


@contextlib.contextmanager
def device() -> Iterator[Device]:
    """`Device`, which has no autocast to be asked for."""
    enabled, autocast = torch.is_autocast_enabled, torch.autocast
    with pytest.MonkeyPatch.context() as patch, Device() as mode:
        patch.setattr(torch, "is_autocast_enabled", lambda *kind: kind != (AWAY.type,) and enabled(*kind))
        patch.setattr(
            torch,
            "autocast",
            lambda kind, *args, **options: (
                contextlib.nullcontext() if kind == AWAY.type else autocast(kind, *args, **options)
            ),
        )
        yield mode

"""Import shims for two GPU packages that OpenRLHF imports at the top of its modules and no test here runs."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable


class _Anything(types.ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder:
    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        # Without its kernels OpenRLHF takes log-probs in torch.
        if name.split(".")[0] not in ("flash_attn", "vllm") or name.startswith("flash_attn.ops"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = _Anything(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to execute."""


def install() -> None:
    """Let `flash_attn` and `vllm` be imported; also the hook of Ray's workers."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def use_the_host(change: Callable[[object, str, object], None] = setattr) -> None:
    """Give the host where OpenRLHF asks for the current GPU.

    Args:
        change: Sets an attribute; a monkeypatch's, to have it back.
    """
    import torch
    from openrlhf.trainer.ray import ppo_actor
    from openrlhf.utils.deepspeed import deepspeed

    from tests.frameworks.openrlhf.plain import HostDevice

    change(torch.cuda, "current_device", lambda: HostDevice("cpu"))
    change(torch.cuda, "synchronize", lambda *args: None)
    for module in (ppo_actor, deepspeed):
        change(module, "torch_dist_barrier_and_cuda_sync", lambda: None)

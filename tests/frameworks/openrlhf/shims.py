"""Import shims for two GPU packages that OpenRLHF imports at the top of its modules and no test here runs."""

from __future__ import annotations

import importlib.machinery
import sys
import types


class _Anything(types.ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder:
    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name.split(".")[0] not in ("flash_attn", "vllm"):
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

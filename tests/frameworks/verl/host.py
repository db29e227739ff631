"""The host as a platform of verl, which has none without an accelerator: its own FSDP2 engine runs on it."""

from __future__ import annotations

import types
from typing import Any

import torch
from verl.plugin.platform import set_platform
from verl.plugin.platform.platform_cuda import PlatformCUDA

_MEMORY = ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved")


def _device_module() -> types.ModuleType:
    """What verl asks of `torch.cuda` for its logs; `torch.cpu` measures no memory and has no name."""
    module = types.ModuleType("host")
    for name in _MEMORY:
        setattr(module, name, lambda *args: 0)
    module.mem_get_info = lambda *args: (1 << 30, 1 << 30)
    module.get_device_name = lambda *args: "CPU"
    module.is_available = lambda: True
    module.current_device = lambda: "cpu"
    module.get_rng_state, module.set_rng_state = torch.get_rng_state, torch.set_rng_state
    return module


class Host(PlatformCUDA):
    device_name, device_module = "cpu", _device_module()

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        return "cpu"

    def set_device(self, device_index: int) -> None:
        """There is one."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing runs besides."""

    def empty_cache(self) -> None:
        """There is none."""

    def set_allocator_settings(self, settings: str) -> None:
        """There are none."""

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def communication_backend_name(self) -> str:
        return "gloo"


set_platform(Host())

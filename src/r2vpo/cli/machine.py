"""What this machine has: processors, accelerators, memory and room, as the system says it, or torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from r2vpo.environment import HUB_CACHE, HUB_HOME
from r2vpo.models.cache import cache_root

_UNITS = ("avx512_bf16", "amx_bf16", "bf16")
"""Names of bfloat16 units in Linux's list of a processor's features; the last is that of Arm."""
_SECONDS = 10.0


def devices_by_torch() -> list[str]:
    """Return one line for each device that can be used for training, as torch sees it."""
    import torch

    from r2vpo.precision import multiplies_bfloat16
    from r2vpo.threads import standard_work, use_fastest

    units = "bfloat16 units" if multiplies_bfloat16(on_cpu=True) else "no bfloat16 units: trains in float32"
    lines = [f"{_cpu()}, {units}", f"cpu now: {use_fastest(standard_work()).described()}"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bfloat16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        lines.append(f"cuda:{index}: {properties.name}, {gibibytes(properties.total_memory)}, {bfloat16}")
    if not torch.cuda.device_count():
        build = "this torch is built for CPUs" if torch.version.cuda is None else "no GPU is visible to torch"
        lines.append(f"no accelerator: {build}")
    return lines


def devices_by_system() -> list[str]:
    """Return one line for each device, from the system and NVIDIA's driver; torch is not imported."""
    units = _has_bfloat16_units()
    said = {True: ", bfloat16 units", False: ", no bfloat16 units: trains in float32", None: ""}[units]
    lines = [_cpu() + said]
    lines += [f"gpu {line}" for line in _nvidia("--query-gpu=index,name,memory.total", "--format=csv,noheader")]
    build = _torch_is_for_cpus()
    if build:
        lines.append("torch is built for CPUs" + (": it does not use these GPUs" if len(lines) > 1 else ""))
    elif len(lines) == 1:
        lines.append("no GPU of NVIDIA's driver; of others only torch knows, see --full")
    return lines


def room() -> list[str]:
    """Return a line for the folder of converted models and one for that of the hub, with the room on their disks."""
    hub = os.environ.get(HUB_CACHE.name) or Path(os.environ.get(HUB_HOME.name) or "~/.cache/huggingface") / "hub"
    lines = []
    for what, folder in (("converted models", cache_root()), ("downloaded models", Path(hub).expanduser())):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        writable = "" if os.access(existing, os.W_OK) else ", which cannot be written"
        lines.append(f"{what}: {folder}{writable}, {gibibytes(shutil.disk_usage(existing).free)} free")
    return lines


def gibibytes(size: int) -> str:
    """Return a size as text."""
    return f"{size / 2**30:.0f} GiB"


def _cpu() -> str:
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {gibibytes(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))} of memory"
    return f"cpu: {os.cpu_count()} cores{memory}"


def _has_bfloat16_units() -> bool | None:
    """Return whether the processor has them; None if this system does not say so."""
    try:
        features = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    return any(re.search(rf"\b{unit}\b", features) for unit in _UNITS)


def _nvidia(*options: str) -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(["nvidia-smi", *options], capture_output=True, text=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return ["nvidia-smi does not answer"]
    return done.stdout.splitlines() if not done.returncode else []


def _torch_is_for_cpus() -> bool:
    """Return whether the installed torch has no CUDA, ROCm or XPU, from its version file; False if that is unknown."""
    if platform.system() != "Linux":
        return False
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin).parent / "version.py" if spec is not None and spec.origin else None
    if file is None or not file.is_file():
        return False
    text = file.read_text()
    return all(re.search(rf"^{name}\b.*= None$", text, re.MULTILINE) for name in ("cuda", "hip", "xpu"))

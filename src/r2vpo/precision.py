"""Determine whether a device multiplies in bfloat16 or only stores numbers in it."""

import torch

# Names of `torch.cpu.get_capabilities`. Those of AVX-512 and AMX were measured.
_CPU_UNITS = ("avx512_bf16", "amx_bf16")


def multiplies_bfloat16(*, on_cpu: bool) -> bool:
    """Return whether bfloat16 is the fast type of the training device.

    Args:
        on_cpu: The device is the host; otherwise it is the accelerator that torch sees. If there is none, or it is not
            a CUDA device, the answer is yes, which fits planning for a GPU and leaves the decision to the trainer.
    """
    if on_cpu:
        return cpu_multiplies_bfloat16()
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_multiplies_bfloat16() -> bool:
    """Return whether the CPU has bfloat16 units and oneDNN, which does the multiplication, may use them.

    Without them every operand is converted: products of the quickstart's model then take about four times as long as in
    float32, whereas with units they take about half as long. oneDNN can be restricted to older instructions
    (`ONEDNN_MAX_CPU_ISA=AVX2`); its own check says yes to any AVX-512, with or without units.
    """
    return (
        _cpu_has_units() and torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _cpu_has_units() -> bool:
    if not hasattr(torch.cpu, "get_capabilities"):  # torch 2.8; every CPU with AMX tiles multiplies bfloat16 in them
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit) for unit in _CPU_UNITS)


def computes_on_cpu(device: str) -> bool:
    """Return whether `cpu`, `cuda` or `auto`, which takes a GPU if there is one, means the CPU here.

    Args:
        device: one of the three.
    """
    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())

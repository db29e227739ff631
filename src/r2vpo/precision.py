"""Whether a device multiplies in bfloat16, or only holds numbers in it."""

import torch

# As `torch.cpu.get_capabilities` names them. AVX-512's and AMX's are the ones that were measured.
_CPU_UNITS = ("avx512_bf16", "amx_bf16")


def multiplies_bfloat16(*, on_cpu: bool) -> bool:
    """Whether bfloat16 is the fast type of the device that trains.

    Args:
        on_cpu: The device is the host; otherwise it is the accelerator that torch sees. Without one, or with one that
            is not CUDA's, the answer is yes: what is planned for, or what its own trainer decides.
    """
    if on_cpu:
        return cpu_multiplies_bfloat16()
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_multiplies_bfloat16() -> bool:
    """Whether the CPU has units for bfloat16, and oneDNN, which multiplies on it, may use them.

    Without them every operand is converted: products of the quickstart's model then take about four times as long as in
    float32, and about half as long where there are units. oneDNN can be held to older instructions
    (`ONEDNN_MAX_CPU_ISA=AVX2`); it says yes to any AVX-512, with or without units.
    """
    capabilities = torch.cpu.get_capabilities()
    units = any(capabilities.get(unit) for unit in _CPU_UNITS)
    return units and torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

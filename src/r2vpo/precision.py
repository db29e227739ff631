"""Whether a device multiplies in bfloat16, or only holds numbers in it."""

import torch

# As `torch.cpu.get_capabilities` names them. AVX-512's and AMX's are the ones that were measured.
_CPU_UNITS = ("avx512_bf16", "amx_bf16")


def multiplies_bfloat16(*, on_cpu: bool) -> bool:
    """Whether bfloat16 is the fast type of the device that trains.

    A CPU without units for it converts every operand: products of the quickstart's model then take about four times
    as long as in float32, and about half as long where there are units.

    Args:
        on_cpu: The device is the host; otherwise it is the accelerator that torch sees. Without one, or with one that
            is not CUDA's, the answer is yes: what is planned for, or what its own trainer decides.
    """
    if on_cpu:
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(unit) for unit in _CPU_UNITS)
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)

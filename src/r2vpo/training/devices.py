"""Which GPUs a run computes on, as far as the user has to know."""

from __future__ import annotations

import torch
from accelerate import PartialState


def unused_gpus(*, on_cpu: bool) -> str | None:
    """Return the note that a run of one process leaves visible GPUs unused, or None.

    Args:
        on_cpu: whether the run computes on the CPU.
    """
    count = 0 if on_cpu else torch.cuda.device_count()
    if count < 2 or PartialState().num_processes > 1:
        return None
    return (
        f"{count} GPUs are visible, and the run computes on the first: --accelerate multi_gpu starts a process for "
        "each, --accelerate single_gpu or CUDA_VISIBLE_DEVICES hides the others"
    )

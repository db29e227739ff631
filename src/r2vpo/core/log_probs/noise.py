"""Random parts of a model, off while log-probabilities are computed.

The two log-probabilities of a ratio come from two forward passes. Under dropout each pass draws its own mask, so the
ratio of an unchanged policy is not 1, and its variance is read as movement of the policy.
"""

from __future__ import annotations

import re

from torch import nn

_PROBABILITY = re.compile(r"drop|jitter")
"""Names of attributes such as `attention_dropout`, `layerdrop`, `resid_pdrop`, `router_jitter_noise`."""


def disable_noise(model: nn.Module) -> None:
    """Turn off dropout, layer drop and router jitter in every module below `model`, until `model.train()`.

    Modules go to evaluation mode, which is where models read whether to draw. A module with gradient checkpointing
    is the exception: it checkpoints in training mode alone, so it stays there and its own probabilities are set to 0
    for good; the modules inside it go to evaluation mode. The mode of `model` itself is left alone, because trainers
    read from it whether they train.

    Args:
        model: The policy, wrapped by PEFT or not. Its gradients, caches and weights are not touched.
    """
    for module in model.modules():
        if module is model:
            continue
        if getattr(module, "gradient_checkpointing", False) and module.training:
            for name in probabilities(module):
                setattr(module, name, 0.0)
        else:
            module.training = False


def probabilities(module: nn.Module) -> dict[str, float]:
    """The probabilities above 0 by which this module itself drops values or disturbs its router.

    Args:
        module: One module; those inside it are not looked at.

    Returns:
        Attribute name to value.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return {"p": module.p} if module.p > 0 else {}
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, float) and value > 0 and _PROBABILITY.search(name)
    }

"""Turning off the random parts of a model while log-probabilities are computed.

The two log-probabilities of a ratio come from two forward passes. Under dropout each pass draws its own mask, so the
ratio of an unchanged policy is not 1, and its variance would be taken for movement of the policy.
"""

from __future__ import annotations

import re

from torch import nn

_PROBABILITY = re.compile(r"drop|jitter")
"""Matches attribute names such as `attention_dropout`, `layerdrop`, `resid_pdrop`, `router_jitter_noise`."""


def disable_noise(model: nn.Module) -> None:
    """Turn off dropout, layer drop and router jitter in every module inside `model`, until `model.train()`.

    Modules are put into evaluation mode, by which models decide whether to draw. A module with gradient checkpointing
    is the exception: it checkpoints only in training mode, so it stays in that mode and its own probabilities are set
    to 0 permanently; the modules inside it are put into evaluation mode. The mode of `model` itself does not change,
    because trainers use it to tell whether they are training.

    Args:
        model: The policy, wrapped by PEFT or not. Its gradients, caches and weights do not change.
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
    """Return the probabilities above 0 with which this module itself drops values or perturbs its router.

    Args:
        module: One module; the modules inside it are ignored.

    Returns:
        Mapping of attribute name to value.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return {"p": module.p} if module.p > 0 else {}
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, float) and value > 0 and _PROBABILITY.search(name)
    }

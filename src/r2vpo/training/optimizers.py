"""Optimizers of a recipe: those of transformers, and Prodigy, which transformers does not provide."""

from __future__ import annotations

from typing import Any

from accelerate.utils import parse_flag_from_env
from torch.optim import Optimizer

from r2vpo.config.recipe import Recipe
from r2vpo.errors import UserError
from r2vpo.optional import require

OPTIMIZERS = {"adamw": "adamw_torch_fused", "sgd": "sgd", "prodigy": "adamw_torch_fused"}
"""Values of transformers' `TrainingArguments.optim`. The one for Prodigy is not used: see `own_optimizer`."""

_SHARDED = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_FSDP": "FSDP"}


def check_optimizer(recipe: Recipe) -> None:
    """Refuse Prodigy if it is not installed, or if each process would find a different rate.

    Its rate is computed from sums over all weights. With replicated weights and reduced gradients these sums are the
    same in every process; an optimizer that holds a part of the weights only has the sums of that part.

    Args:
        recipe: the recipe.

    Raises:
        UserError: either is the case.
    """
    if recipe.trainer.optimizer != "prodigy":
        return
    require("prodigyopt", "trainer.optimizer = prodigy")
    for variable, name in _SHARDED.items():
        if parse_flag_from_env(variable):
            raise UserError(
                f"trainer.optimizer = prodigy finds one rate for all weights, and {name} shards the weights over "
                "processes: set trainer.optimizer=adamw, or launch without it"
            )


def own_optimizer(recipe: Recipe) -> tuple[type[Optimizer], dict[str, Any]] | None:
    """Return class and options of an optimizer that transformers does not provide, in the form its trainer takes.

    This is Prodigy (Mishchenko and Defazio, 2306.06101) from its authors' package. Its rate is `learning_rate d`, where
    d is estimated from how far the weights have moved against the gradients. As its authors advise, the factor is 1,
    weight decay is decoupled, and `safeguard_warmup` is on if the rate rises from 0 at the start, since d would be
    overestimated there. Bias correction, which AdamW has and which they advise for diffusion models, is on: with it
    off, the default, two of four runs of the habit task ended at 0 (docs/objective.md, section 7). All other options
    have their defaults.

    Args:
        recipe: the recipe.

    Returns:
        The pair, or None if transformers provides the optimizer.
    """
    trainer = recipe.trainer
    if trainer.optimizer != "prodigy":
        return None
    # optional package
    from prodigyopt import Prodigy

    return Prodigy, {
        "lr": trainer.learning_rate,
        "use_bias_correction": True,
        "safeguard_warmup": trainer.warmup_steps > 0,
    }

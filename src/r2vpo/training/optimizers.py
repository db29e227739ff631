"""The optimizers that a recipe names: transformers' own, and Prodigy, which it does not know."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from accelerate.utils import parse_flag_from_env
from torch.optim import Optimizer

from r2vpo.errors import UserError
from r2vpo.training.recipe import Recipe

OPTIMIZERS = {"adamw": "adamw_torch_fused", "sgd": "sgd", "prodigy": "adamw_torch_fused"}
"""Names of transformers' `TrainingArguments.optim`. That of Prodigy is not read: see `own_optimizer`."""

_SHARDED = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_FSDP": "FSDP"}


def check_optimizer(recipe: Recipe) -> None:
    """Refuse Prodigy where it is not installed, or where each process would find a different rate.

    Its rate rests on sums over all weights. With replicated weights and reduced gradients every process has the same
    ones; an optimizer that holds a part of the weights has the sums of that part.

    Args:
        recipe: the recipe.

    Raises:
        UserError: one of the two.
    """
    if recipe.trainer.optimizer != "prodigy":
        return
    if find_spec("prodigyopt") is None:
        raise UserError("trainer.optimizer = prodigy, but prodigyopt is not installed: pip install prodigyopt")
    for variable, name in _SHARDED.items():
        if parse_flag_from_env(variable):
            raise UserError(
                f"trainer.optimizer = prodigy finds one rate for all weights, which {name} divides over processes: "
                "set trainer.optimizer=adamw, or launch without it"
            )


def own_optimizer(recipe: Recipe) -> tuple[type[Optimizer], dict[str, Any]] | None:
    """Class and options of an optimizer that transformers does not know, as its trainer takes them.

    Prodigy (Mishchenko and Defazio, 2306.06101) in its authors' package; its rate is `learning_rate d`, with d found
    from how far the weights have gone against the gradients. As its authors advise, the factor is 1, weight decay is
    decoupled, and `safeguard_warmup` is on where the rate rises from 0 at the start, since d would be overestimated
    there. Bias correction, which AdamW has and which they advise for diffusion models, is on: off, as by default, two
    of four runs of the habit task ended at 0 (docs/objective.md, section 7). All else is at their defaults.

    Args:
        recipe: the recipe.

    Returns:
        The pair, or None where `OPTIMIZERS` names it.
    """
    trainer = recipe.trainer
    if trainer.optimizer != "prodigy":
        return None
    # An optional package.
    from prodigyopt import Prodigy

    return Prodigy, {
        "lr": trainer.learning_rate,
        "use_bias_correction": True,
        "safeguard_warmup": trainer.warmup_steps > 0,
    }

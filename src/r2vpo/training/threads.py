"""Choose the number of CPU threads of a run."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState

from r2vpo.config.recipe import Recipe
from r2vpo.precision import computes_on_cpu
from r2vpo.threads import model_work, use_fastest, use_number


def settle_threads(recipe: Recipe, model: Any, *, autocast: bool) -> tuple[Recipe, str | None]:
    """Use the number of threads that the recipe names, or the fastest one if it names none.

    Args:
        recipe: the recipe.
        model: its model.
        autocast: whether it computes in bfloat16 with float32 weights.

    Returns:
        The recipe with the number, so that the run can be resumed with the same one; and one line that says which
        number it is and why. Without a change and without a line if the model is not on the CPU, or if several
        processes share it, where each would measure the others.
    """
    trainer = recipe.trainer
    if trainer.threads is not None:
        return recipe, use_number(trainer.threads, "trainer.threads in the run's recipe").described()
    if not computes_on_cpu(trainer.device) or PartialState().num_processes > 1:
        return recipe, None
    rows = min(recipe.rows_per_round, recipe.rollout.rows_per_batch or recipe.rows_per_round)
    chosen = use_fastest(model_work(model, rows=rows, autocast=autocast))
    trainer = trainer.model_copy(update={"threads": chosen.number})
    return recipe.model_copy(update={"trainer": trainer}), chosen.described()

"""Choose the number of CPU threads of a run."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from r2vpo.config.recipe import Recipe
from r2vpo.environment import LOCAL_WORLD_SIZE
from r2vpo.precision import computes_on_cpu
from r2vpo.threads import Work, measured, model_work, usable_cores, use_fastest, use_number

SECONDS_BETWEEN_CHECKS = 60.0
WORTH_SAYING = 1.5
"""How many times as fast another number of threads has to be before the user hears of it."""


def settle_threads(recipe: Recipe, model: Any, *, autocast: bool) -> tuple[Recipe, str | None]:
    """Use the number of threads that the recipe names, or the fastest one if it names none.

    Args:
        recipe: the recipe.
        model: its model.
        autocast: whether it computes in bfloat16 with float32 weights.

    Returns:
        The recipe with the number, so that the run can be resumed with the same one; and one line that says which
        number it is and why. Without a change and without a line unless one process trains on the CPU.
    """
    trainer = recipe.trainer
    if trainer.threads is not None:
        return recipe, _given(trainer.threads, on_cpu=computes_on_cpu(trainer.device))
    if not alone_on_cpu(recipe):
        return recipe, None
    chosen = use_fastest(work_of(recipe, model, autocast=autocast))
    trainer = trainer.model_copy(update={"threads": chosen.number})
    return recipe.model_copy(update={"trainer": trainer}), chosen.described()


def _given(number: int, *, on_cpu: bool) -> str:
    """Use the recipe's number, and describe it; on a CPU with fewer cores also what would be faster."""
    processes = int(os.environ.get(LOCAL_WORLD_SIZE.name, LOCAL_WORLD_SIZE.default)) if on_cpu else 1
    line = use_number(number, "trainer.threads in the run's recipe", processes=processes).described()
    fitting = max(1, usable_cores() // processes)
    if not on_cpu or number <= fitting:
        return line
    return f"{line}: --set trainer.threads={fitting} is faster, and rounds otherwise"


def alone_on_cpu(recipe: Recipe) -> bool:
    """Return whether one process trains on the CPU; several would measure each other, and may share the weights."""
    return computes_on_cpu(recipe.trainer.device) and PartialState().num_processes == 1


def work_of(recipe: Recipe, model: Any, *, autocast: bool) -> Work:
    """Return what is measured for a run: a pass through some weights of its model, for the rows sampled at once."""
    rows = min(recipe.rows_per_round, recipe.rollout.rows_per_batch or recipe.rows_per_round)
    return model_work(model, rows=rows, autocast=autocast)


class ThreadsWatch(TrainerCallback):
    """Say once if other work that began during the run makes another number of threads much faster.

    The number itself does not change: it decides how results are rounded, and a resumed run would round differently.

    Args:
        work: one pass of what is measured.
        say: prints a line.
    """

    def __init__(self, work: Work, say: Callable[[str], None]) -> None:
        self._work, self._say = work, say
        self._checked = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure again, once a minute."""
        if time.monotonic() - self._checked < SECONDS_BETWEEN_CHECKS:
            return
        self._checked = time.monotonic()
        now = torch.get_num_threads()
        rates = measured(self._work, sorted({1, now}), turns=3)
        if rates[1] > WORTH_SAYING * rates[now]:
            self._say(
                f"other work now keeps the cores busy: 1 thread would be {rates[1] / rates[now]:.0f} times as fast as "
                f"{now}: stop with Ctrl-C, and resume with --set trainer.threads=1 added"
            )
            self._checked = math.inf

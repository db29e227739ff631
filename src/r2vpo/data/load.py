"""Loading of problems from options."""

from __future__ import annotations

from r2vpo.data.dataset import load_dataset_problems, load_held_out_problems
from r2vpo.data.habit import build_habit
from r2vpo.data.instructions import build_instructions
from r2vpo.data.options import DataOptions, DatasetOptions, HabitOptions, InstructionsOptions, ReasoningGymOptions
from r2vpo.data.procedural import build_reasoning_gym
from r2vpo.data.rows import PromptData, PromptRow


def load_data(options: DataOptions, *, seed: int = 0) -> PromptData:
    """Read or make the problems of a run; the same options and seed give the same problems.

    Raises:
        UserError: the source cannot provide what the options request.
    """
    if isinstance(options, DatasetOptions):
        return load_dataset_problems(options, seed)
    if isinstance(options, HabitOptions):
        return build_habit(options, seed)
    if isinstance(options, InstructionsOptions):
        return build_instructions(options, seed)
    return build_reasoning_gym(options, seed)


def load_held_out(options: DataOptions, *, seed: int = 0) -> list[PromptRow]:
    """Read or make only the held-out problems, the same ones as `load_data` with the same options.

    Training rows of a data set are read only if they are needed: to show examples, or to set held-out rows aside.

    Raises:
        UserError: the source cannot provide what the options request.
    """
    if isinstance(options, DatasetOptions):
        return load_held_out_problems(options, seed)
    if isinstance(options, ReasoningGymOptions):
        options = options.model_copy(update={"train_size": 0})
    return load_data(options, seed=seed).held_out

"""From options to problems."""

from __future__ import annotations

from r2vpo.data.dataset import load_dataset_problems
from r2vpo.data.habit import build_habit
from r2vpo.data.instructions import build_instructions
from r2vpo.data.options import DataOptions, DatasetOptions, HabitOptions, InstructionsOptions
from r2vpo.data.procedural import build_reasoning_gym
from r2vpo.data.rows import PromptData


def load_data(options: DataOptions) -> PromptData:
    """Read or make the problems of a run.

    Args:
        options: options of one of the sources.

    Returns:
        Training and held-out problems; the same options give the same ones.

    Raises:
        UserError: when the source cannot give what the options ask for.
    """
    if isinstance(options, DatasetOptions):
        return load_dataset_problems(options)
    if isinstance(options, HabitOptions):
        return build_habit(options)
    if isinstance(options, InstructionsOptions):
        return build_instructions(options)
    return build_reasoning_gym(options)

"""Prompts with answers and difficulties: from reasoning-gym, the `habit` task, instructions, or a data set."""

from r2vpo.data.load import load_data, load_held_out
from r2vpo.data.options import (
    DataOptions,
    DatasetOptions,
    HabitOptions,
    InstructionsOptions,
    MixtureComponent,
    ReasoningGymOptions,
)
from r2vpo.data.rows import PromptData, PromptRow, to_dataset

__all__ = [
    "DataOptions",
    "DatasetOptions",
    "HabitOptions",
    "InstructionsOptions",
    "MixtureComponent",
    "PromptData",
    "PromptRow",
    "ReasoningGymOptions",
    "load_data",
    "load_held_out",
    "to_dataset",
]

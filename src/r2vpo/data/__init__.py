"""Prompts with answers and difficulties: from reasoning-gym, the `habit` task, instructions, or a data set."""

from r2vpo.data.load import load_data, load_held_out
from r2vpo.data.options import (
    DataOptions,
    DatasetOptions,
    HabitOptions,
    InstructionsOptions,
    MixtureComponent,
    PreferencesOptions,
    ReasoningGymOptions,
)
from r2vpo.data.rows import Pair, PromptData, PromptRow, to_dataset, to_pairs

__all__ = [
    "DataOptions",
    "DatasetOptions",
    "HabitOptions",
    "InstructionsOptions",
    "MixtureComponent",
    "Pair",
    "PreferencesOptions",
    "PromptData",
    "PromptRow",
    "ReasoningGymOptions",
    "load_data",
    "load_held_out",
    "to_dataset",
    "to_pairs",
]

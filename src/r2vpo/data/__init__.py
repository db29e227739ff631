"""Prompts with answers and difficulty: made by reasoning-gym, sums of the `habit` task, or read from a file."""

from r2vpo.data.load import load_data
from r2vpo.data.options import (
    DataOptions,
    FewShotOptions,
    HabitOptions,
    JsonlOptions,
    MixtureComponent,
    ReasoningGymOptions,
)
from r2vpo.data.rows import PromptData, PromptRow, to_dataset

__all__ = [
    "DataOptions",
    "FewShotOptions",
    "HabitOptions",
    "JsonlOptions",
    "MixtureComponent",
    "PromptData",
    "PromptRow",
    "ReasoningGymOptions",
    "load_data",
    "to_dataset",
]

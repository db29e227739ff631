"""From a recipe's problems to the options of the data package."""

from pathlib import Path

from r2vpo.data.options import (
    DataOptions,
    FewShotOptions,
    HabitOptions,
    JsonlOptions,
    MixtureComponent,
    ReasoningGymOptions,
)
from r2vpo.training.recipe_inputs import HabitData, JsonlData, ReasoningGymData


def data_options(data: ReasoningGymData | JsonlData | HabitData, *, seed: int) -> DataOptions:
    """The options that ``r2vpo.data.load_data`` takes.

    Args:
        data: the recipe's section.
        seed: seed of the problems, of the examples shown, and of the split.
    """
    if isinstance(data, JsonlData):
        return JsonlOptions(
            path=Path(data.path),
            held_out_path=Path(data.held_out_path) if data.held_out_path else None,
            held_out=data.held_out_size,
            seed=seed,
            prompt_column=data.prompt_column,
            answer_column=data.answer_column,
            difficulty_column=data.difficulty_column,
        )
    if isinstance(data, HabitData):
        return HabitOptions(
            format=data.format,
            difficulties=tuple(data.difficulties),
            train=data.train_size,
            held_out=data.held_out_size,
            seed=seed,
        )
    return ReasoningGymOptions(
        mixture=tuple(MixtureComponent(**item.model_dump()) for item in data.mixture),
        train=data.train_size,
        held_out=data.held_out_size,
        seed=seed,
        few_shot=FewShotOptions(count=data.few_shot, seed=seed),
    )

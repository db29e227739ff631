"""Translate a recipe's data section into the options of the data package."""

from r2vpo.config.recipe_inputs import AnyData, DatasetData, HabitData, InstructionsData
from r2vpo.data.options import (
    DataOptions,
    DatasetOptions,
    FewShotOptions,
    HabitOptions,
    InstructionsOptions,
    MixtureComponent,
    ReasoningGymOptions,
)


def data_options(data: AnyData, *, seed: int) -> DataOptions:
    """Return the options that ``r2vpo.data.load_data`` takes.

    Args:
        data: the recipe's section.
        seed: seed of the problems, the few-shot examples and the split.
    """
    if isinstance(data, DatasetData):
        same: tuple[str, ...] = ("subset", "split", "revision", "layout")
        same += ("prompt_column", "answer_column", "difficulty_column")
        same += ("held_out_subset", "held_out_split", "system_prompt", "instruction", "few_shot")
        same += ("contamination", "contamination_words")
        return DatasetOptions(
            path=tuple(data.path),
            held_out_path=tuple(data.held_out_path) if data.held_out_path else None,
            held_out_layout=data.held_out_schema,
            held_out=data.held_out_size,
            train=data.train_size,
            seed=seed,
            **{name: getattr(data, name) for name in same},
        )
    if isinstance(data, HabitData):
        return HabitOptions(
            format=data.format,
            difficulties=tuple(data.difficulties) if data.difficulties else None,
            train=data.train_size,
            held_out=data.held_out_size,
            seed=seed,
        )
    if isinstance(data, InstructionsData):
        return InstructionsOptions(
            constraints=tuple(data.constraints), train=data.train_size, held_out=data.held_out_size, seed=seed
        )
    return ReasoningGymOptions(
        mixture=tuple(MixtureComponent(**item.model_dump()) for item in data.mixture),
        train=data.train_size,
        held_out=data.held_out_size,
        seed=seed,
        few_shot=FewShotOptions(count=data.few_shot, seed=seed),
    )

"""Options of the data sources, distinguished by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r2vpo.data.habit_formats import HabitDifficulty, HabitFormat, check_difficulties

SchemaName = Literal[
    "plain", "numina_math", "gsm8k", "math", "dapo_math", "aime", "countdown", "mbpp", "humaneval", "ifeval"
]
Contamination = Literal["report", "drop", "off"]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MixtureComponent(_Options):
    """One family of problems with its parameters.

    Attributes:
        family: name of a reasoning-gym data set, such as `chain_sum`.
        difficulty: label under which its accuracy is reported; components may share one.
        weight: share of the training problems, relative to the other components.
        params: the family's own parameters, such as `{min_terms: 2, max_terms: 2}`.
        question: template of a problem, ending where the answer begins; `{question}` and the problem's metadata (such
            as `{expression}` of `chain_sum`) are filled in.
    """

    family: str
    difficulty: str = "all"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    params: dict[str, Any] = {}
    question: str = "Q: {question}\nA:"


class FewShotOptions(_Options):
    """Solved examples before each problem, the same for all problems.

    Attributes:
        count: number of examples; the components take turns.
        seed: seed of their draw and their order.
    """

    count: int = Field(default=6, ge=0, le=64)
    seed: int = 0


class ReasoningGymOptions(_Options):
    """Problems made by reasoning-gym.

    Attributes:
        kind: `reasoning_gym`.
        mixture: the families.
        train: number of distinct training problems, shared out by weight; 0 to evaluate only.
        held_out: number of held-out problems, shared out evenly over the difficulties; never trained on.
        seed: seed of the problems.
        few_shot: the solved examples before each problem.
    """

    kind: Literal["reasoning_gym"] = "reasoning_gym"
    mixture: tuple[MixtureComponent, ...] = Field(min_length=1)
    train: int = Field(default=512, ge=0)
    held_out: int = Field(default=204, ge=0)
    seed: int = 0
    few_shot: FewShotOptions = FewShotOptions()


class DatasetOptions(_Options):
    """Problems of a data set: on the hub, in a folder or in files.

    Attributes:
        kind: `dataset`.
        path: names on the hub, folders or files (.jsonl, .json, .csv, .parquet), read one after the other.
        subset: subset of `path`, if it has several.
        split: split of `path`; None means `train`. A file has no splits.
        revision: commit, tag or branch of a name on the hub.
        layout: how its rows are read: a name of `r2vpo.data.schemas.SCHEMAS`.
        prompt_column: with `plain`, column of the prompt: a string, or a list of chat messages.
        answer_column: with `plain`, column of the answer: a string or a number.
        difficulty_column: with `plain`, column of the difficulty label; rows without one get `all`.
        held_out_path: location of held-out problems; None means `path` if `held_out_split` is set, and otherwise sets
            training rows aside.
        held_out_subset: subset of `held_out_path`.
        held_out_split: split of the held-out problems; None with `held_out_path` means `train`.
        held_out_layout: how rows of `held_out_path` are read; None means `layout`.
        held_out: number of held-out problems, set aside from training or drawn from the named ones; None for all of the
            named ones.
        train: number of training problems to draw; None for all.
        seed: seed of every draw.
        system_prompt: system message; turns a text prompt into a chat.
        instruction: template of the prompt, in which `{question}` is replaced by the question.
        few_shot: solved examples before each problem, drawn from the training problems.
        contamination: what to do with training problems that share text with held-out ones.
        contamination_words: length of the shared text, in words.
    """

    kind: Literal["dataset"] = "dataset"
    path: tuple[str, ...] = Field(min_length=1)
    subset: str | None = None
    split: str | None = None
    revision: str | None = None
    layout: SchemaName = "plain"
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    difficulty_column: str = "difficulty"
    held_out_path: tuple[str, ...] | None = None
    held_out_subset: str | None = None
    held_out_split: str | None = None
    held_out_layout: SchemaName | None = None
    held_out: int | None = Field(default=204, ge=0)
    train: int | None = Field(default=None, ge=1)
    seed: int = 0
    system_prompt: str | None = None
    instruction: str | None = None
    few_shot: int = Field(default=0, ge=0, le=64)
    contamination: Contamination = "report"
    contamination_words: int = Field(default=13, ge=1)


class HabitOptions(_Options):
    """Sums for a model that learned from a demonstrator who drops carries.

    Attributes:
        kind: `habit`.
        format: the length of the numbers and how the answer is written, a name of `r2vpo.data.habit_formats.FORMATS`.
        difficulties: difficulties to train on, with equally many problems of each; None for all that the format has.
        train: number of distinct training problems; None for the largest number with equally many of each difficulty.
        held_out: number of held-out problems, shared out evenly over all difficulties; never trained on.
        seed: seed of the draw.
    """

    kind: Literal["habit"] = "habit"
    format: HabitFormat = "sum"
    difficulties: tuple[HabitDifficulty, ...] | None = Field(default=None, min_length=1)
    train: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=600, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _of_the_format(self) -> HabitOptions:
        check_difficulties(self.format, self.difficulties or ())
        return self


class InstructionsOptions(_Options):
    """Small writing tasks with checkable constraints.

    Attributes:
        kind: `instructions`.
        constraints: numbers of constraints per prompt, with equally many prompts of each.
        train: number of distinct training prompts.
        held_out: number of held-out prompts; their topics are never trained on.
        seed: seed of the draw.
    """

    kind: Literal["instructions"] = "instructions"
    constraints: tuple[Annotated[int, Field(ge=1, le=4)], ...] = Field(default=(1, 2), min_length=1)
    train: int = Field(default=512, ge=1)
    held_out: int = Field(default=200, ge=0)
    seed: int = 0


DataOptions = Annotated[
    ReasoningGymOptions | DatasetOptions | HabitOptions | InstructionsOptions, Field(discriminator="kind")
]

"""Options of the data sources, told apart by `kind`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

HabitFormat = Literal["sum", "chain"]
HabitDifficulty = Literal["no carry", "one carry", "two carries"]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MixtureComponent(_Options):
    """One family of problems with its parameters.

    Attributes:
        family: name of a reasoning-gym data set, such as `chain_sum`.
        difficulty: label under which its accuracy is reported; components may share one.
        weight: share of the training problems, relative to the other components.
        params: the family's own parameters, such as `{min_terms: 2, max_terms: 2}`.
        question: how a problem is written, ending where the answer begins; `{question}` and the problem's
            metadata (such as `{expression}` of `chain_sum`) are filled in.
    """

    family: str
    difficulty: str = "all"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    params: dict[str, Any] = {}
    question: str = "Q: {question}\nA:"


class FewShotOptions(_Options):
    """Solved examples before each problem, the same ones everywhere.

    Attributes:
        count: how many; the components take turns.
        seed: seed of their draw, and of their order.
    """

    count: int = Field(default=6, ge=0, le=64)
    seed: int = 0


class ReasoningGymOptions(_Options):
    """Problems made by reasoning-gym.

    Attributes:
        kind: `reasoning_gym`.
        mixture: the families.
        train: number of distinct training problems, shared out by weight.
        held_out: number of held-out problems, shared out evenly over the difficulties; never trained on.
        seed: seed of the problems.
        few_shot: the solved examples before each problem.
    """

    kind: Literal["reasoning_gym"] = "reasoning_gym"
    mixture: tuple[MixtureComponent, ...] = Field(min_length=1)
    train: int = Field(default=512, ge=1)
    held_out: int = Field(default=204, ge=0)
    seed: int = 0
    few_shot: FewShotOptions = FewShotOptions()


class JsonlOptions(_Options):
    """Problems in a file of JSON objects, one a line.

    Attributes:
        kind: `jsonl`.
        path: the file.
        held_out_path: a file of held-out problems; without it they are split off `path`.
        held_out: how many to split off when there is no `held_out_path`.
        seed: seed of the split.
        prompt_column: column of the prompt, a string or a list of chat messages.
        answer_column: column of the answer, a string or a number.
        difficulty_column: column of the difficulty's label; rows without it get `all`.
    """

    kind: Literal["jsonl"] = "jsonl"
    path: Path
    held_out_path: Path | None = None
    held_out: int = Field(default=200, ge=0)
    seed: int = 0
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    difficulty_column: str = "difficulty"


class HabitOptions(_Options):
    """Sums for a model that learned from a demonstrator who drops carries.

    Attributes:
        kind: `habit`.
        format: `sum`, two numbers of two digits and their sum; or `chain`, two numbers of three digits, added column
            by column.
        difficulties: which of them are trained on, as many problems of each.
        train: number of distinct training problems; None for as many as there are of each.
        held_out: number of held-out problems, shared out evenly over all difficulties; never trained on.
        seed: seed of the draw.
    """

    kind: Literal["habit"] = "habit"
    format: HabitFormat = "sum"
    difficulties: tuple[HabitDifficulty, ...] = Field(default=("no carry", "one carry", "two carries"), min_length=1)
    train: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=600, ge=0)
    seed: int = 0


DataOptions = Annotated[ReasoningGymOptions | JsonlOptions | HabitOptions, Field(discriminator="kind")]

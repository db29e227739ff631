"""The schema of a suite's file and of an evaluation's configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from r2vpo.config.errors import validated
from r2vpo.config.overrides import override
from r2vpo.config.reward import RewardRecipe
from r2vpo.config.sections import Problems
from r2vpo.config.yaml_files import read_mapping
from r2vpo.data.options import DatasetOptions, PromptFormat
from r2vpo.section import LAST_SEED, Section


class Sampling(Section):
    """How completions are sampled."""

    k: int = Field(4, ge=0, le=65_536, description="completions sampled for each problem, beside the greedy one")
    temperature: float = Field(1.0, ge=0.001, le=1000, description="of the sampled completions, and of the entropy")
    max_new_tokens: int = Field(512, ge=1, description="longest completion")
    stop: list[str] = Field([], description="texts of one token that end a completion")
    format: PromptFormat = Field(
        "auto", description="how the model is given a text, as data.format of a data set; for every source of problems"
    )
    batch: int = Field(64, ge=1, description="completions made at once; whole batches are kept")


class Suite(Section):
    """Problems, how answers are scored, and how completions are made."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="name of the suite")
    seed: int = Field(0, ge=0, le=LAST_SEED, description="seed of the problems")
    data: Problems = Field(description="as in a recipe; the held-out problems are the suite's")
    reward: RewardRecipe = Field(description="as in a recipe; if there are several parts, the first one grades")
    sampling: Sampling = Field(Sampling(), description="how completions are made")

    @model_validator(mode="after")
    def _one_format(self) -> "Suite":
        given = self._format_of_data()
        if given != "auto" and self.sampling.format not in ("auto", given):
            raise ValueError(
                f"data.format = {given} and sampling.format = {self.sampling.format} differ: leave one out"
            )
        return self

    @property
    def format(self) -> PromptFormat:
        """How the model is given a text: `data.format` of a data set, otherwise `sampling.format`."""
        given = self._format_of_data()
        return self.sampling.format if given == "auto" else given

    def _format_of_data(self) -> PromptFormat:
        return self.data.format if isinstance(self.data, DatasetOptions) else "auto"

    def problems_per_batch(self) -> int:
        """Return the number of problems whose completions are made at once."""
        return max(1, self.sampling.batch // max(1, self.sampling.k))


class EvaluationConfig(Section):
    """The settings of an evaluation, as stored in its `config.yaml`."""

    model: str = Field(min_length=1, description="the name under which the model was given")
    weights: str = Field(min_length=1, description="where its weights are read from; for a run, a checkpoint")
    seed: int = Field(0, ge=0, le=LAST_SEED, description="seed of the samples")
    device: Literal["cpu", "cuda"] = Field("cpu", description="device of the model")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="type of the weights")
    threads: int | None = Field(None, ge=1, le=4096, description="CPU threads; null is torch's choice")
    baseline: str | None = Field(None, description="model, run or evaluation it is compared with")
    win_by: dict[str, Any] = Field({"name": "score"}, description="the rule that decides which completion is better")
    suite: Suite = Field(description="the suite with its overrides")
    problems: str | None = Field(None, description="SHA-256 of the suite's problems, to notice if they change")
    fingerprint: str | None = Field(None, description="digest of local weight files, for the same purpose")


def load_suite(path: Path, overrides: Sequence[str] = (), flags: Mapping[str, str] | None = None) -> Suite:
    """Read a suite's file and apply overrides.

    Args:
        path: a YAML file.
        overrides: ``key=value`` texts, the key dotted, such as ``sampling.k=8``.
        flags: such texts by the option of the command line that they come from; they win.

    Returns:
        The suite, with every default filled in.

    Raises:
        UserError: the file cannot be read, or it is not a suite. One line.
    """
    settings = read_mapping(path, "suite")
    overridden = [override(settings, text) for text in overrides]
    by_flag = {override(settings, text, flag=flag): flag for flag, text in (flags or {}).items()}
    return validated(Suite, settings, source=str(path), overridden=overridden, flags=by_flag)

"""Read, check and write recipes: one YAML file describes a run completely.

``load_recipe`` turns a file and the ``--set`` overrides of a command line into a frozen ``Recipe``, or raises
a ``UserError`` of one line that names the file, the key and the remedy. ``dump_recipe`` writes a recipe that
loads back as an equal one; a run keeps it as its ``config.yaml``.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from r2vpo.config.dpo import DpoRecipe, dpo_problem, has_pairs
from r2vpo.config.errors import validated
from r2vpo.config.overrides import flatten, override
from r2vpo.config.reward import RewardRecipe
from r2vpo.config.sections import EvaluationRecipe, ModelRecipe, Problems, RolloutRecipe, Trackers, TrainerRecipe
from r2vpo.config.shipped import RECIPES
from r2vpo.config.yaml_files import RecipeDumper, read_mapping
from r2vpo.core.critic.consistency import critic_problem
from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.method_options import MethodOptions, ObjectiveOptions
from r2vpo.core.options import AdvantageOptions, CurriculumOptions, DualOptions, StepControlOptions
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.data.options import (
    DatasetOptions,
    InstructionsOptions,
    PreferencesOptions,
    PromptFormat,
    ReasoningGymOptions,
)
from r2vpo.errors import UserError
from r2vpo.section import LAST_SEED, Section


class Recipe(Section):
    """Complete description of a run. Two runs of equal recipes on one machine give equal numbers."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="name of the run, and of its folder",
    )
    seed: int = Field(0, ge=0, le=LAST_SEED, description="seed of data, sampling and replay")
    model: ModelRecipe = Field(ModelRecipe(), description="the policy that is trained")
    data: Problems = Field(description="the problems")
    reward: RewardRecipe = Field(RewardRecipe(), description="how a completion is scored")
    objective: ObjectiveOptions = Field(ObjectiveOptions(), description="the loss")
    dpo: DpoRecipe = Field(DpoRecipe(), description="training on preferences, with trainer.kind dpo")
    dual: DualOptions = Field(DualOptions(), description="the multiplier lambda of the variance constraint")
    step_control: StepControlOptions = Field(StepControlOptions(), description="the learning rate follows V_d")
    replay: ReplayOptions = Field(ReplayOptions(), description="training again on stale rollouts")
    advantage: AdvantageOptions = Field(AdvantageOptions(), description="how rewards become advantages")
    critic: CriticOptions = Field(CriticOptions(), description="a learned value function, as in PPO")
    curriculum: CurriculumOptions = Field(CurriculumOptions(), description="how the prompts of each round are chosen")
    rollout: RolloutRecipe = Field(RolloutRecipe(), description="sampling of completions")
    trainer: TrainerRecipe = Field(TrainerRecipe(), description="optimisation")
    evaluation: EvaluationRecipe = Field(EvaluationRecipe(), description="greedy accuracy on held-out problems")
    report_to: Trackers = Field(
        ["tensorboard"], description="experiment trackers: one, or a list of them; an empty list is none"
    )

    @property
    def model_seed(self) -> int:
        """Seed of newly created weights."""
        return self.seed if self.model.seed is None else self.model.seed

    @property
    def steps_per_round(self) -> int:
        """Optimizer steps of all passes over a round's rollouts."""
        return self.trainer.optimizer_steps_per_round * self.trainer.passes

    @property
    def evaluated_every(self) -> int:
        """Optimizer steps from one evaluation to the next; 0 means only before and after training."""
        return self.evaluation.every_rounds * self.steps_per_round

    @property
    def rounds(self) -> int:
        """Rounds of generation of the whole run; the last one may have fewer steps."""
        return -(-self.trainer.max_steps // self.steps_per_round)

    @property
    def rows_per_round(self) -> int:
        """Completions that are sampled in a round, or that its given pairs have."""
        if self.is_offline:
            return 2 * self.rollout.prompts_per_round
        return self.rollout.prompts_per_round * self.rollout.samples_per_prompt

    @property
    def is_offline(self) -> bool:
        """Whether the run trains on given pairs, and samples answers only to evaluate."""
        return has_pairs(self.data)

    @property
    def _rows_per_prompt(self) -> int:
        """Rows of a forward pass that a prompt gives: its samples, or, with trainer.kind dpo, its pair."""
        return 1 if self.trainer.kind == "dpo" else self.rollout.samples_per_prompt

    def micro_batch(self, processes: int) -> int | None:
        """Return the fresh rows of one forward pass, of `trainer.kind: dpo` the pairs.

        None if a round does not divide over that many processes.
        """
        parts = self.trainer.optimizer_steps_per_round * self.trainer.micro_batches * processes
        rows = self.rollout.prompts_per_round * self._rows_per_prompt
        divides = rows % parts == 0 and self.rollout.prompts_per_round % processes == 0
        return rows // parts if divides else None

    def divided_over(self, processes: int) -> int:
        """Return the fresh rows (with trainer.kind dpo the pairs) of one forward pass in each of several processes.

        Raises:
            UserError: a round does not divide over that many.
        """
        rows = self.micro_batch(processes)
        if rows is None:
            samples = "" if self.trainer.kind == "dpo" else f" x {self.rollout.samples_per_prompt} samples"
            raise UserError(
                f"rollout: {self.rollout.prompts_per_round} prompts{samples} do not "
                f"divide over {processes} processes x {self.trainer.optimizer_steps_per_round} optimizer steps x "
                f"{self.trainer.micro_batches} micro-batches: change one of them"
            )
        return rows

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        found = (
            dpo_problem(self),
            self._batch_problem(),
            self._group_problem(),
            self._source_problem(),
            self._multiplier_problem(),
        )
        for problem in (*found, self._rate_problem(), self._critic_problem(), self._tracker_problem()):
            if problem:
                raise ValueError(problem)
        return self

    def _batch_problem(self) -> str | None:
        prompts, steps = self.rollout.prompts_per_round, self.trainer.optimizer_steps_per_round
        if prompts % steps:
            choices = sorted({max(prompts // steps, 1) * steps, -(-prompts // steps) * steps})
            return (
                f"rollout.prompts_per_round = {prompts} does not divide into "
                f"trainer.optimizer_steps_per_round = {steps}: "
                f"set rollout.prompts_per_round={' or '.join(map(str, choices))}"
            )
        rows, parts = prompts // steps * self._rows_per_prompt, self.trainer.micro_batches
        if rows % parts:
            what = "pairs" if self.trainer.kind == "dpo" else "fresh rows"
            choices = [n for n in range(1, rows + 1) if rows % n == 0]
            near = [max(n for n in choices if n < parts), *[n for n in choices if n > parts][:1]]
            return (
                f"an optimizer step has {rows} {what}, which do not divide into "
                f"trainer.micro_batches = {parts}: "
                f"set trainer.micro_batches={' or '.join(map(str, near))}"
            )
        return None

    def _group_problem(self) -> str | None:
        # TRL's trainer refuses this for every estimator, including reinforce_pp, which compares over the batch.
        if self.rollout.samples_per_prompt < 2:
            return (
                "rollout.samples_per_prompt = 1 leaves nothing to compare a completion with: "
                "set rollout.samples_per_prompt to 2 or more"
            )
        return None

    def _multiplier_problem(self) -> str | None:
        try:
            MethodOptions(self.objective, self.dual, self.step_control)
        except ValueError as error:
            return str(error)
        return None

    def _rate_problem(self) -> str | None:
        step, trainer = self.step_control, self.trainer
        if step.enabled and trainer.optimizer == "prodigy":
            return (
                "trainer.optimizer = prodigy finds its rate itself, and step_control would be a second controller of "
                "the rate: set step_control.enabled=false"
            )
        if step.enabled and step.kind == "kl" and self.steps_per_round == 1:
            return (
                "step_control.kind = kl measures what a round's earlier steps did, and with "
                "trainer.optimizer_steps_per_round = 1 there are none: set it to 2 or more"
            )
        return None

    def _critic_problem(self) -> str | None:
        if self.critic.enabled and self.trainer.optimizer == "prodigy":
            return (
                "trainer.optimizer = prodigy finds one rate for all weights, and critic.enabled = true adds weights "
                "with another one: set trainer.optimizer=adamw, or critic.enabled=false"
            )
        return critic_problem(self.critic, self.advantage, self.replay)

    def _tracker_problem(self) -> str | None:
        doubled = [name for name in self.report_to if self.report_to.count(name) > 1]
        return f"report_to names {doubled[0]} twice: name it once" if doubled else None

    def _source_problem(self) -> str | None:
        names = [part.name for part in self.reward.all_parts()]
        compares = [name for name in names if name in ("exact", "numeric", "math", "choice", "reasoning_gym")]
        if compares and isinstance(self.data, InstructionsOptions):
            return (
                f"reward.name = {compares[0]} compares with an answer, and data.source = instructions has none: set "
                "reward.name=constraints"
            )
        if compares and isinstance(self.data, PreferencesOptions) and not self.data.names_held_out:
            return (
                f"reward.name = {compares[0]} compares with an answer, and problems that are set aside from pairs have "
                "none: name problems to evaluate on in data.held_out_path, or set another reward"
            )
        if "reasoning_gym" in names and not isinstance(self.data, ReasoningGymOptions):
            return (
                f"reward.name = reasoning_gym cannot score data.source = {self.data.source}: "
                "set reward.name to exact, numeric, math, choice, or your own as module:function"
            )
        return None


def load_recipe(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: a YAML file, such as a run's own ``config.yaml``, or a name that ``r2vpo recipes`` lists.
        overrides: ``key=value`` texts with a dotted key (``objective.delta``, ``data.mixture.0.weight``) and a
            YAML value. Later ones win.

    Returns:
        The recipe, with every default filled in; if it has no name, the file's name is used.

    Raises:
        UserError: the file is missing, is not YAML or not a mapping, a key is unknown, a value has the wrong type
            or is out of bounds, or two settings contradict each other. One line.
    """
    path = RECIPES.find(os.fspath(path))
    settings = _as_written(read_mapping(path, "recipe"))
    overridden = [override(settings, text) for text in overrides]
    settings.setdefault("name", path.stem)
    return validated(Recipe, settings, source=str(path), overridden=overridden)


def _as_written(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's `config.yaml` with what it meant before there was `data.format`.

    Such a file has every section, and what is missing in it was not known when it was written.
    """
    data = settings.get("data")
    known = Recipe.model_fields.keys() - {"dpo", "critic"}  # which are newer
    if not (known <= settings.keys() and isinstance(data, dict) and data.get("source") == "dataset"):
        return settings
    before = "text" if data.get("system_prompt") is None else "chat"
    return settings | {"data": {"format": before} | data}


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML, with every default written out; ``load_recipe`` reads back an equal recipe."""
    return yaml.dump(
        recipe.model_dump(mode="json"), Dumper=RecipeDumper, sort_keys=False, allow_unicode=True, width=100
    )


def settle_precision(recipe: Recipe, *, autocast: bool, dtype: Literal["bfloat16", "model"]) -> Recipe:
    """Return the recipe with `auto` in `trainer.bf16_autocast` and `rollout.dtype` replaced by these values."""
    trainer, rollout = recipe.trainer, recipe.rollout
    if trainer.bf16_autocast == "auto":
        trainer = trainer.model_copy(update={"bf16_autocast": autocast})
    if rollout.dtype == "auto":
        rollout = rollout.model_copy(update={"dtype": dtype})
    return recipe.model_copy(update={"trainer": trainer, "rollout": rollout})


def settle_format(recipe: Recipe, format: PromptFormat) -> Recipe:
    """Return the recipe with `auto` in `data.format` replaced; only a data set has this setting."""
    if not isinstance(recipe.data, DatasetOptions) or recipe.data.format != "auto":
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"format": format})})


def format_of(recipe: Recipe) -> PromptFormat:
    """Return `data.format` of a recipe; `auto` for a source that does not have it."""
    return recipe.data.format if isinstance(recipe.data, DatasetOptions) else "auto"


def differing_keys(recipe: Section, other: Section) -> list[str]:
    """Return the dotted keys whose values differ, in the order of the recipe; list items are compared by position."""
    first, second = flatten(recipe.model_dump()), flatten(other.model_dump())
    missing = object()
    return [key for key in first | second if first.get(key, missing) != second.get(key, missing)]

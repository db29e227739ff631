"""The section of a recipe about preferences, and what a recipe of `trainer.kind: dpo` has to leave out."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from r2vpo.core.preference_options import Link, PairBrake, PreferenceOptions
from r2vpo.data.options import HabitOptions, PreferencesOptions, ReasoningGymOptions
from r2vpo.section import Section, declared

if TYPE_CHECKING:
    from r2vpo.config.recipe import Recipe

_OF_REWARDS = ("objective", "replay", "advantage", "critic", "curriculum")
"""Sections about training on rewards."""
_REMEDIES = {"objective": ": set dpo.loss, dpo.link, dpo.delta and dpo.brake, and remove it"}
_OFF = {
    "trainer.passes": 1,
    "trainer.skip_zero_advantage": False,
    "trainer.router_aux_loss_coef": None,
    "rollout.lag": 0,
    "rollout.sampler": "shared_prefix",
    "rollout.vllm": None,
}
"""Settings that `R2VPODPOTrainer` has not, and the values that leave them off."""
_OF_SAMPLING = {"rollout.samples_per_prompt": 8, "rollout.temperature": 1.0}
"""Settings about answers that are sampled in training, with their defaults."""


class DpoRecipe(Section):
    """Training on preferences, with `trainer.kind: dpo`."""

    loss: Literal["sigmoid", "ipo", "apo_zero", "apo_down"] = Field(
        "sigmoid", description="loss of a pair, by its name in TRL: sigmoid is DPO; apo_zero and apo_down are APO"
    )
    beta: float = Field(0.1, gt=0, description="weight of staying near the reference, which is the initial model")
    link: Link = declared(PreferenceOptions, "link")
    reward_bound: float = declared(PreferenceOptions, "reward_bound")
    delta: float = declared(PreferenceOptions, "delta")
    brake: PairBrake = declared(PreferenceOptions, "brake")


def has_pairs(data: Any) -> bool:
    """Return whether a data source gives pairs of answers, and not problems that are answered in training."""
    return isinstance(data, PreferencesOptions) or (isinstance(data, HabitOptions | ReasoningGymOptions) and data.pairs)


def dpo_problem(recipe: Recipe) -> str | None:
    """Return what contradicts the kind of trainer, and the remedy; None if nothing does."""
    if recipe.trainer.kind != "dpo":
        return _rewards_problem(recipe)
    for name in _OF_REWARDS:
        value = getattr(recipe, name)
        if value != type(value)() and not (
            name == "replay" and recipe.replay.versions == 0 and not recipe.replay.store
        ):
            remedy = _REMEDIES.get(name, ": remove it")
            return f"{name} is about training on rewards, and trainer.kind = dpo trains on preferences{remedy}"
    offline = has_pairs(recipe.data)
    for key, off in {**_OFF, **(_OF_SAMPLING if offline else {})}.items():
        section, _, name = key.partition(".")
        value = getattr(getattr(recipe, section), name)
        if value != off:
            why = "trains on pairs that are given" if offline and key in _OF_SAMPLING else "does not have this setting"
            return f"{key} = {_shown(value)}, and trainer.kind = dpo {why}: remove it"
    if recipe.rollout.dtype == "bfloat16":
        return "rollout.dtype = bfloat16, and with trainer.kind = dpo the policy itself samples: remove it"
    if recipe.dpo.link == "chi_po" and recipe.dpo.loss != "sigmoid":
        return (
            f"dpo.link = chi_po clips the margin of the loss sigmoid, and dpo.loss = {recipe.dpo.loss}: set "
            "dpo.loss=sigmoid, or dpo.link=kl"
        )
    return None


def _rewards_problem(recipe: Recipe) -> str | None:
    kind = recipe.trainer.kind
    if isinstance(recipe.data, PreferencesOptions):
        return f"data.source = preferences has pairs, and trainer.kind = {kind} trains on rewards: set trainer.kind=dpo"
    if has_pairs(recipe.data):
        return f"data.pairs = true, and trainer.kind = {kind} trains on rewards: set trainer.kind=dpo, or remove it"
    if recipe.dpo != DpoRecipe():
        return (
            f"dpo is for preferences, and trainer.kind = {kind} trains on rewards: set trainer.kind=dpo, or remove it"
        )
    return None


def _shown(value: Any) -> str:
    return "a section" if isinstance(value, Section) or is_dataclass(value) else str(value)

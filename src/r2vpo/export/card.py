"""The model card of a run: what was trained on what, with which settings, and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from r2vpo.config.numbers import count, duration, interval, points
from r2vpo.config.recipe import Recipe
from r2vpo.config.records import Record
from r2vpo.config.run_directory import RunDirectory
from r2vpo.data.options import DatasetOptions, ReasoningGymOptions
from r2vpo.intervals import FEWEST_PROBLEMS, difference_interval
from r2vpo.models.base import describe_base
from r2vpo.models.card import PENALTY, Card, method_name, method_settings, render_card


def run_card(run: RunDirectory, checkpoint: Path, *, step: int, adapters: bool, chat: bool, dtype: str) -> str:
    """Return the card of a run's model.

    Args:
        run: the run.
        checkpoint: the one whose weights the card describes.
        step: the optimizer step of that.
        adapters: whether the folder holds adapters.
        chat: whether the tokenizer has a chat template.
        dtype: type of the weights in the folder.

    Raises:
        UserError: the run's records are damaged.
    """
    recipe = run.recipe()
    summary = run.read_summary() or {}
    if summary.get("optimizer_steps") != step:
        summary = {}
    by_step = {record["step"]: record for record in run.read_evaluations()}
    before, after = by_step.get(0), by_step.get(step)
    base = describe_base(recipe.model.name)
    card = Card(
        name=run.path.absolute().name,
        base=base,
        adapters=adapters,
        chat=chat,
        settings=_settings(run, recipe, step, summary, dtype) | {"date": _date(checkpoint)},
        results=_results(before, after),
        accuracy=after["accuracy"]["value"] if after else None,
        data=f"{recipe.name} held-out problems",
        measured=_measured(recipe, before, after, step),
        limits=_limits(recipe, before or after, on_hub=base.hub == recipe.model.name, adapters=adapters),
        changed=summary.get("weights_changed") is not False,
        method=_method(recipe),
        preferences=recipe.trainer.kind == "dpo",
    )
    return render_card(card)


def _method(recipe: Recipe) -> str:
    """Return the name of what was trained with."""
    if recipe.trainer.kind != "dpo":
        return method_name(recipe.objective)
    constrained = recipe.step_control.enabled or (recipe.dual.kind, recipe.dual.value) != ("fixed", 0)
    return f"dpo{PENALTY}" if constrained else "dpo"


def _of_method(recipe: Recipe) -> dict[str, str]:
    """Return the rows about the method, the data of a round and its answers."""
    trainer, rollout, dpo = recipe.trainer, recipe.rollout, recipe.dpo
    steps = f"{recipe.steps_per_round} optimizer steps"
    completions = {
        "completions": f"at most {rollout.max_new_tokens} tokens, temperature {rollout.temperature:g}"
        + (f", ended by {_texts(rollout.stop)}" if rollout.stop else "")
    }
    sampled = f"{rollout.prompts_per_round} prompts x {rollout.samples_per_prompt} completions"
    if trainer.kind != "dpo":
        rows = method_settings(recipe.objective, recipe.dual, recipe.step_control, recipe.replay, recipe.critic)
        return {**rows, "a round": f"{sampled}, {steps}", **completions}
    given = recipe.is_offline
    return {
        "objective": f"{_method(recipe)} (loss {dpo.loss}, beta {dpo.beta:g}, link {dpo.link})",
        "trust radius delta": f"{dpo.delta:g} ratio variance per decision and response with an advantage",
        "multiplier": recipe.dual.kind,
        "step control": "on: the learning rate follows V_d" if recipe.step_control.enabled else "off",
        "pairs": "given" if given else "the best and the worst completion to each prompt, by reward",
        "a round": f"{rollout.prompts_per_round} pairs, {steps}" if given else f"{sampled}, {steps}",
        **({} if given else completions),
    }


def _date(checkpoint: Path) -> str:
    return date.fromtimestamp(checkpoint.stat().st_mtime).isoformat()


def _settings(run: RunDirectory, recipe: Recipe, step: int, summary: Record, dtype: str) -> dict[str, str]:
    trainer, lora = recipe.trainer, recipe.model.lora
    done: Record = next((record for record in run.read_metrics() if record.get("step") == step), {})
    parts = recipe.reward.all_parts()
    found = {
        **_of_method(recipe),
        "data": f"{data_in_words(recipe)}{_problems(summary)}",
        "reward": " + ".join(f"{part.weight:g} x {part.name}" if len(parts) > 1 else part.name for part in parts),
        "trained weights": _trained(lora.r, lora.alpha, lora.target_modules) if lora else "all",
        "optimizer": f"{trainer.optimizer}, learning rate {trainer.learning_rate:g} ({trainer.lr_scheduler})",
        "optimizer steps": f"{step:,} of {trainer.max_steps:,}",
        "rollouts": "none"
        if recipe.is_offline
        else f"{count(done.get('rollouts_generated'))} generated, {count(done.get('rollouts_reused'))} reused",
        "type of the weights": f"{dtype} here, {recipe.model.dtype} in training"
        + (", computed in bfloat16" if trainer.bf16_autocast is True else ""),
        "seed": str(recipe.seed),
    }
    if summary:
        machine = summary.get("machine") or {}
        found["time"] = f"{duration(summary['wall_seconds'])} on {machine.get('platform')}, {machine.get('cpus')} cores"
        found["versions"] = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    return found


def _trained(rank: int, alpha: float, modules: list[str]) -> str:
    return f"adapters (LoRA) of rank {rank}, alpha {alpha:g}, on {', '.join(modules)}"


def _problems(summary: Mapping[str, Any]) -> str:
    known = summary.get("problems")
    return f"; {count(known['train'])} problems to train on, {count(known['held_out'])} held out" if known else ""


def data_in_words(recipe: Recipe) -> str:
    """Return what a recipe's problems are; of files, only their names.

    Args:
        recipe: the recipe.
    """
    data = recipe.data
    if isinstance(data, ReasoningGymOptions):
        families = dict.fromkeys(f"{part.family} ({part.difficulty})" for part in data.mixture)
        return f"generated by reasoning-gym: {', '.join(families)}"
    if isinstance(data, DatasetOptions):
        paths = [Path(path).name if Path(path).exists() or path.count("/") > 1 else path for path in data.path]
        return ", ".join(paths)
    return data.source


def _results(before: Record | None, after: Record | None) -> list[tuple[str, str, str, str]]:
    if before is None or after is None:
        return []
    gain = difference_interval(before["correct"], after["correct"]).to_json()
    first, last = before["accuracy"], after["accuracy"]
    rows = [(f"all {count(last['n'])}", interval(first), interval(last), points(first, last, gain))]
    if len(after["by_difficulty"]) > 1:
        rows += [
            (f"{label} ({count(found['n'])})", interval(before["by_difficulty"].get(label)), interval(found), "")
            for label, found in after["by_difficulty"].items()
        ]
    return rows


def _measured(recipe: Recipe, before: Record | None, after: Record | None, step: int) -> str:
    if after is None:
        return f"The run did not evaluate the weights of step {step}."
    longest = recipe.evaluation.max_new_tokens or recipe.rollout.max_new_tokens
    how = (
        f"Greedy accuracy on held-out problems that training never saw, in answers of at most {longest} tokens, by the "
        f"reward of the run. Intervals are 95 %; fewer than {FEWEST_PROBLEMS} problems have none. The gain is paired, "
        "in percentage points."
    )
    return how if before is not None else f"Accuracy before training is not recorded. {how}"


def _limits(recipe: Recipe, evaluated: Record | None, *, on_hub: bool, adapters: bool) -> list[str]:
    found = [
        "The accuracy is that of one run with one seed, on problems of the kind that it trained on. Nothing else was "
        "measured."
    ]
    shown = (evaluated or {}).get("completions") or []
    if shown and isinstance(shown[0].get("prompt"), str):
        found.append("It was trained and measured on plain texts as prompts, without the chat template.")
    if recipe.rollout.stop:
        found.append(
            f"In training a completion ended at {_texts(recipe.rollout.stop)}. The end tokens in this folder are the "
            "model's own: to reproduce the accuracy, end generation at that text too."
        )
    if adapters and not on_hub:
        found.append("The base model is not on the hub, so these adapters cannot be loaded from their settings alone.")
    return found


def _texts(texts: list[str]) -> str:
    return ", ".join(f"`{text!r}`" for text in texts)

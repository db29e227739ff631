"""What the top and the end of a run's page say: state, result, totals, notes, versions."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r2vpo.config.folder_lock import holder
from r2vpo.config.numbers import about_intervals, byte_size, count, duration, percent, significant
from r2vpo.data.options import DataOptions, DatasetOptions, HabitOptions, ReasoningGymOptions
from r2vpo.intervals import difference_interval
from r2vpo.report.data import RunData


def overview(data: RunData) -> dict[str, Any]:
    """Return what is said about a run besides its curves, completions and settings."""
    steps, of_steps = int(data.last("step") or 0), data.recipe.trainer.max_steps
    running = not data.summary and holder(data.run.path) is not None
    state = "finished" if data.summary else f"{'running' if running else 'stopped'}: step {steps:,} of {of_steps:,}"
    return {
        "state": state,
        "going": running,
        "lede": _lede(data),
        "result": _result(data),
        "facts": _facts(data, steps),
        "said": _said(data),
        "notes": _notes(data),
        "versions": _versions(data),
    }


def _lede(data: RunData) -> list[str]:
    recipe, problems = data.recipe, data.summary.get("problems") or {}
    n = (data.after or data.before or {}).get("n")
    return [
        recipe.model.name,
        _problems(recipe.data),
        *([f"{count(problems['train'])} training problems"] if problems.get("train") else []),
        *([f"{count(n)} held-out problems"] if n else []),
        f"seed {recipe.seed}",
    ]


def _problems(data: DataOptions) -> str:
    if isinstance(data, ReasoningGymOptions):
        return ", ".join(dict.fromkeys(item.family for item in data.mixture))
    if isinstance(data, DatasetOptions):
        return ", ".join(Path(path).name for path in data.path)
    return f"{data.source}, format {data.format}" if isinstance(data, HabitOptions) else data.source


def _result(data: RunData) -> dict[str, Any]:
    before, after = _whole(data.before), _whole(data.after)
    gain = data.summary.get("accuracy_gain")
    if gain is None and before and after:
        gain = paired(data.evaluations[0], data.evaluations[-1]) if len(data.evaluations) > 1 else None
        gain = gain or {"value": after["value"] - before["value"], "low": None, "high": None}
    first = data.accuracy_at(0) if data.accuracy_at(0).get("step") == 0 else {}
    last = data.accuracy_at(-1) if after else {}  # the same as `first` before the second evaluation
    by = [
        [
            label,
            _whole((first.get("by_difficulty") or {}).get(label)),
            _whole((last.get("by_difficulty") or {}).get(label)),
        ]
        for label in data.difficulties()
    ]
    return {
        "before": before,
        "after": after,
        "after_name": "after" if data.summary else "now",
        "gain": gain,
        "by_difficulty": by if len(by) > 1 else [],
        "intervals": about_intervals(data.sizes()),
    }


def _whole(accuracy: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an accuracy with all its keys, or None if it has no value."""
    if not accuracy or accuracy.get("value") is None:
        return None
    whole = {key: accuracy.get(key) for key in ("value", "low", "high", "n")}
    return whole if whole["high"] is not None else whole | {"low": None}


def paired(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the difference of two evaluations on the same problems with its interval, or None if they differ.

    Args:
        before: a record of `evaluations.jsonl`.
        after: another, of the same run or of another one.
    """
    first, second = before.get("correct"), after.get("correct")
    digests = [(record.get("data") or {}).get("held_out") for record in (before, after)]
    if not first or not second or len(first) != len(second) or digests[0] is None or digests[0] != digests[1]:
        return None
    return difference_interval(first, second).to_json()


def _facts(data: RunData, steps: int) -> list[tuple[str, str, str]]:
    def take(key: str, metric: str | None = None) -> Any:
        return data.summary.get(key, data.last(metric or key))

    generated, reused = take("rollouts_generated"), take("rollouts_reused")
    again = data.last("rollouts_used_again")
    generating, training = take("seconds_generating"), take("seconds_training")
    made, written = [], []
    if not data.recipe.is_offline:
        made = [("rollouts generated", count(generated), _part(again, generated, "used again at least once"))]
        written = [("tokens generated", count(take("tokens_generated")), _speed(data))]
    facts = [
        *made,
        ("optimizer steps", count(data.summary.get("optimizer_steps", steps)), _rounds(data)),
        *written,
        (
            "time",
            duration(take("wall_seconds", "seconds")),
            f"{duration(generating)} generating, {duration(training)} training" if training is not None else "",
        ),
    ]
    if generated and reused is not None:
        uses = generated + reused
        facts.insert(1, ("uses of rollouts", count(uses), _part(reused, uses, "by later rounds")))
    if data.summary.get("peak_memory_bytes"):
        facts.append(("peak memory", byte_size(data.summary["peak_memory_bytes"]), ""))
    return [(name, value, _unbroken(more)) for name, value, more in facts]


def _part(some: float | None, whole: float | None, words: str) -> str:
    return f"{count(some)} ({percent(some / whole)}) {words}" if some and whole else ""


def _rounds(data: RunData) -> str:
    rounds = len({record.get("round") for record in data.metrics} - {None})
    return f"in {count(rounds)} round{'s' if rounds > 1 else ''}" if rounds else ""


def _speed(data: RunData) -> str:
    speed = data.last("tokens_per_second")
    return f"{count(speed)} per second at the end" if speed else ""


def _unbroken(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r" (?=min\b|s\b|h\b|%|\d\d (?:s|min)\b)", "\u00a0", text)


def _said(data: RunData) -> dict[str, str]:
    """Return what the run's own numbers say about a chart, by the chart's key."""
    said = {}
    ends: dict[Any, tuple[float, float]] = {}
    for record in data.metrics:
        moved, target = record.get("decision_variance"), record.get("decision_variance_target")
        if moved is not None and target:
            ends[record.get("round", record["step"])] = (moved, target)
    if ends:
        delta = (data.recipe.dpo if data.recipe.trainer.kind == "dpo" else data.recipe.objective).delta
        shares = [moved / target for moved, target in ends.values()]
        above = sum(share > 2 for share in shares) / len(shares)
        said["variance"] = (
            f"δ is {delta:g} here. At the last step of a round, V_d was "
            f"{significant(statistics.median(shares), 2)} times its target in the median, and above twice the target "
            f"in {percent(above)} of the rounds."
        )
    ages = [age or 0 for age in data.last("staleness_rows") or ()]
    if sum(ages):
        said["staleness"] = (
            f"{count(sum(ages))} uses so far: {count(ages[0])} of fresh rollouts and {count(sum(ages[1:]))} "
            f"({percent(sum(ages[1:]) / sum(ages))}) of rollouts from earlier policies."
        )
    return said


def _notes(data: RunData) -> list[dict[str, Any]]:
    """Return the run's events, and what its summary warns of."""
    notes = [{"kind": str(e.get("kind")), "step": e.get("step"), "text": str(e.get("text"))} for e in data.events]
    summary, problems = data.summary, data.summary.get("problems") or {}
    warnings = [
        (summary.get("rounds_without_signal"), "rounds had no signal: no reward differed within a group"),
        (summary.get("non_finite_steps"), "optimizer steps were skipped because a value was not finite"),
        (problems.get("overlap"), "training problems share text with held-out ones"),
        *((number, f"problems were left out: {reason}") for reason, number in (problems.get("left_out") or {}).items()),
    ]
    notes += [{"kind": "warning", "step": None, "text": f"{count(n)} {text}."} for n, text in warnings if n]
    if summary.get("weights_changed") is False:
        notes.append({"kind": "warning", "step": None, "text": "No step has changed the weights."})
    return notes


def _versions(data: RunData) -> list[tuple[str, str]]:
    rows = []
    for key in ("versions", "machine"):
        found = data.summary.get(key)
        rows += [(str(name), str(value)) for name, value in found.items()] if isinstance(found, Mapping) else []
    return rows


def compared(runs: Sequence[RunData]) -> list[dict[str, Any] | None]:
    """Return how much more accurate each run's last evaluation is than the first run's; None where problems differ."""
    return [None, *(paired(runs[0].accuracy_at(-1), run.accuracy_at(-1)) for run in runs[1:])]

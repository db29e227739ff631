"""The curves of a run as columns: few digits, and long ones thinned to the extremes and the mean of each stretch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from r2vpo.report.chart import DERIVED
from r2vpo.report.charts import CHARTS

Record = Mapping[str, Any]

MOST_POINTS = 6000
"""A page's runs share this number of points per curve; curves that are longer are thinned."""

_DIGITS = 5


def curves(metrics: Sequence[Record], evaluations: Sequence[Record], *, most: int = MOST_POINTS) -> dict[str, Any]:
    """Return all the curves that `CHARTS` name.

    Args:
        metrics: the records of the optimizer steps.
        evaluations: the records of the evaluations.
        most: the number of points above which a curve is thinned.

    Returns:
        `steps` and `evaluations`, each with `x` (columns `step`, `rollouts` and `seconds`) and `curves` by name. A
        curve has `at`, positions in the columns, and `y`. That of an evaluation also has `low` and `high`, null where
        there is no interval. A thinned curve keeps the lowest and the highest value of each stretch of records, and has
        `means`: `at`, `y` and the number `n` of records behind each mean.
    """
    x = _positions(metrics)
    found: dict[str, dict[str, Any]] = {}
    for name, pairs in _columns([_flat(record) for record in metrics]).items():
        found[name] = _thinned(pairs, most) if len(pairs) > most else _curve(pairs)
    return {
        "steps": {"x": x, "curves": found},
        "evaluations": {"x": _evaluated_at(evaluations, x), "curves": dict(_intervals(evaluations))},
    }


def _positions(metrics: Sequence[Record]) -> dict[str, list[Any]]:
    """Return step, rollouts and seconds of each record.

    All rollouts of a round exist before its first step. Its steps are spread evenly from the rollouts before the round
    to those after it, so that each of them can be seen.
    """
    steps = [record["step"] for record in metrics]
    totals = [record.get("rollouts_generated") for record in metrics]
    rollouts: list[float | None] = []
    before, start = 0.0, 0
    for end in range(1, len(totals) + 1):
        if end < len(totals) and totals[end] == totals[start]:
            continue
        total, size = totals[start], end - start
        if total is None:
            rollouts += [None] * size
        else:
            rollouts += [_short(before + (total - before) * (turn + 1) / size, 9) for turn in range(size)]
            before = total
        start = end
    clock = [record.get("seconds") for record in metrics]
    seconds = [None if value is None else _short(value, 7) for value in clock]
    return {"step": steps, "rollouts": rollouts, "seconds": seconds}


def _evaluated_at(evaluations: Sequence[Record], x: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the same of the evaluations, whose own seconds are those of another clock."""
    clock = {0: 0.0} | dict(zip(x["step"], x["seconds"], strict=True))
    return {
        "step": [record["step"] for record in evaluations],
        "rollouts": [record.get("rollouts_generated") for record in evaluations],
        "seconds": [clock.get(record["step"]) for record in evaluations],
    }


def _flat(record: Record) -> dict[str, float]:
    """Return the numbers of a record by name, those of lists and mappings as `name.member`, and what they imply."""
    values: dict[str, float] = {}
    for name, value in record.items():
        members = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        values |= {f"{name}.{member}": number for member, number in members if _is_number(number)}
        if _is_number(value):
            values[name] = value
    for name in [name for name in values if name.startswith("effective_sample_size_by_staleness.")]:
        if not values[name]:  # an age without rows
            del values[name]
    for name, derive in _DERIVE.items():
        if all(need in values for need in DERIVED[name]):
            values[name] = derive(*(values[need] for need in DERIVED[name]))
    return values


_DERIVE: Mapping[str, Callable[..., float]] = {
    "rollout_uses": lambda generated, reused: generated + reused,
    "learning_rate_applied": lambda rate, scale: rate * scale,
    "held_out_alignment_bounded": lambda gamma: min(max(gamma, -1.0), 1.0),
    "seconds_other": lambda whole, generating, training: max(whole - generating - training, 0.0),
}


def _columns(records: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[int, float]]]:
    """Return positions and values of each curve that a chart shows, in the order of the charts."""
    known = dict.fromkeys(name for record in records for name in record)
    chosen: dict[str, list[tuple[int, float]]] = {}
    for chart in CHARTS:
        for line in chart.lines:
            stem = line.metric.removesuffix("*")
            names = [n for n in known if n.startswith(stem)] if stem.endswith(".") else [stem] if stem in known else []
            for name in names:
                chosen[name] = [(place, record[name]) for place, record in enumerate(records) if name in record]
    return chosen


def _curve(pairs: Sequence[tuple[int, float]]) -> dict[str, Any]:
    return {"at": [place for place, _ in pairs], "y": [_short(value) for _, value in pairs]}


def _thinned(pairs: Sequence[tuple[int, float]], most: int) -> dict[str, Any]:
    stretch = math.ceil(len(pairs) / (most // 2))
    kept: dict[int, float] = {pairs[0][0]: pairs[0][1]}
    means: dict[str, list[Any]] = {"at": [], "y": [], "n": []}
    for start in range(0, len(pairs), stretch):
        part = pairs[start : start + stretch]
        for extreme in sorted((min(part, key=lambda pair: pair[1]), max(part, key=lambda pair: pair[1]))):
            kept[extreme[0]] = extreme[1]
        means["at"].append(part[len(part) // 2][0])
        means["y"].append(_short(math.fsum(value for _, value in part) / len(part)))
        means["n"].append(len(part))
    kept[pairs[-1][0]] = pairs[-1][1]
    return _curve(sorted(kept.items())) | {"means": means}


def _intervals(evaluations: Sequence[Record]) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    entries: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for place, record in enumerate(evaluations):
        members = {f"by_difficulty.{label}": entry for label, entry in (record.get("by_difficulty") or {}).items()}
        for name, entry in ({"accuracy": record.get("accuracy")} | members).items():
            if isinstance(entry, Mapping) and _is_number(entry.get("value")):
                entries.setdefault(name, []).append((place, entry))
    for name, found in entries.items():
        columns = {key: [entry.get(end) for _, entry in found] for key, end in _ENDS.items()}
        yield (
            name,
            {"at": [place for place, _ in found]}
            | {key: [None if value is None else _short(value) for value in column] for key, column in columns.items()},
        )


_ENDS = {"y": "value", "low": "low", "high": "high"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: float, digits: int = _DIGITS) -> float:
    """Round to a few digits; whole numbers keep all of theirs."""
    if value == int(value) and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.{digits}g}")

"""A plan as text."""

from __future__ import annotations

from collections.abc import Iterable

from r2vpo.planning.plan import Fit, Plan
from r2vpo.planning.sharding import STRATEGIES


def plan_text(plan: Plan) -> str:
    """Format the plan in lines of at most about a hundred characters."""
    blocks = [_model(plan), _memory(plan.chosen, plan), _strategies(plan), _work(plan)]
    blocks.append(["Assumed", *(f"  {line}" for line in plan.assumptions)])
    if plan.notes:
        blocks.append(["Note", *(f"  {line}" for line in plan.notes)])
    return "\n\n".join("\n".join(block) for block in blocks if block)


def size(number: float) -> str:
    """Format bytes in powers of 1024: `3.8 GiB`, `640 MiB`."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.0f} MiB"


def _model(plan: Plan) -> list[str]:
    model = plan.model
    trained = "all of them trained" if model.full_finetuning else f"{model.trainable:,} of adapters trained"
    return [
        f"{model.name} ({model.source})",
        f"  {model.parameters:,} weights, {trained}; {model.layers} layers of {model.hidden:,}, "
        f"{model.vocabulary:,} tokens",
    ]


def _memory(fit: Fit, plan: Plan) -> list[str]:
    where = "Memory of the host" if plan.on_cpu else f"Memory per device ({fit.devices}, {STRATEGIES[fit.strategy]})"
    names = sorted(fit.moments, key=lambda name: -sum(fit.moments[name].values()))
    parts = list(dict.fromkeys(part for name in names for part in fit.moments[name]))
    rows = [["", *names]]
    rows += [[part, *(size(fit.moments[name].get(part, 0)) for name in names)] for part in parts]
    rows.append(["total", *(size(sum(fit.moments[name].values())) for name in names)])
    lines = [f"{where}: {size(fit.peak)} at most", *_table(rows)]
    if not plan.on_cpu:
        lines.append(f"  replay, on the host of each process: {size(plan.replay)}")
    return lines


def _strategies(plan: Plan) -> list[str]:
    if plan.on_cpu:
        return []
    rows = [["", f"devices of {size(plan.device_memory)}", "devices", "memory of each"]]
    for fit in plan.fits:
        smallest = "does not fit" if fit.smallest is None else f"at least {fit.smallest}"
        if not fit.possible:
            smallest = "needs vLLM or TRL"
        rows.append([STRATEGIES[fit.strategy], smallest, str(fit.devices), size(fit.peak)])
    return ["Devices", *_table(rows)]


def _work(plan: Plan) -> list[str]:
    work, hours = plan.work, plan.hours
    rows = [
        ["rounds", f"{work.rounds:,}"],
        ["rollouts sampled", f"{work.rollouts:,}"],
        ["rows trained on, including stale ones", f"{work.rows_trained:,}"],
        ["tokens sampled", f"{work.tokens_generated:,.0f}"],
        ["tokens in evaluations", f"{work.tokens_evaluated:,.0f}"],
        ["tokens trained on", f"{work.tokens_trained:,.0f}"],
        ["operations", f"{work.generation_flops + work.evaluation_flops + work.training_flops:.2e}"],
    ]
    lines = ["Work", *_table(rows)]
    spent = ", ".join(f"{_hours(value)} {name}" for name, value in hours.items())
    number = f"{plan.devices} device{'s' if plan.devices > 1 else ''}"
    if hours:
        lines.append(f"  about {_hours(sum(hours.values()))} on {number}: {spent}")
    if work.reuse_saves > 0:
        saved = work.rollouts_without_reuse - work.rollouts
        time = f", {_hours(hours['generating'] * saved / work.rollouts)} of sampling" if hours else ""
        lines.append(
            f"  reuse of stale rollouts saves up to {saved:,} of {work.rollouts_without_reuse:,} rollouts "
            f"({work.reuse_saves:.0%}){time}"
        )
    return lines


def _hours(number: float) -> str:
    return f"{number:,.0f} h" if number >= 10 else f"{number:.1f} h" if number >= 0.1 else f"{60 * number:.1f} min"


def _table(rows: Iterable[list[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]

"""The figures of an evaluation's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from r2vpo.evaluation.completions import Answered
from r2vpo.report.axes import short
from r2vpo.report.palette import Palette

_BINS = 24


def draw_by_difficulty(axes: Axes, summary: Mapping[str, Any], palette: Palette) -> None:
    """Draw bars of accuracy by difficulty, and of the mean of k and intervals if there are any."""
    groups = summary["by_difficulty"]
    kinds = [("greedy", "accuracy", palette.series[0])]
    if summary["mean_at_k"] is not None:
        kinds.append((f"mean of {summary['k']}", "mean_at_k", palette.series[1]))
    height = 0.8 / len(kinds)
    for turn, (label, key, color) in enumerate(kinds):
        places = np.arange(len(groups)) + (turn - (len(kinds) - 1) / 2) * height
        found = [group[key] for group in groups.values()]
        values = [100 * one["value"] for one in found]
        axes.barh(places, values, height * 0.86, color=color, label=label)
        for place, one in zip(places, found, strict=True):
            if one["low"] is not None:
                value = one["value"]
                reach = [[100 * max(value - one["low"], 0)], [100 * max(one["high"] - value, 0)]]
                axes.errorbar(100 * value, place, xerr=reach, fmt="none", ecolor=palette.ink, elinewidth=1, capsize=2)
    axes.set_yticks(range(len(groups)), [short(label) for label in groups])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% solved")
    axes.grid(axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def draw_passes(axes: Axes, summary: Mapping[str, Any], palette: Palette) -> None:
    """Draw the pass@k curve, with its interval if it has one."""
    sizes = [int(size) for size in summary["pass_at"]]
    found = list(summary["pass_at"].values())
    color = palette.series[0]
    if found[0]["low"] is not None:
        low, high = ([100 * one[end] for one in found] for end in ("low", "high"))
        axes.fill_between(sizes, low, high, color=color, alpha=0.18, lw=0)
    axes.plot(sizes, [100 * one["value"] for one in found], color=color, marker="o", markersize=4, label="pass@k")
    greedy = 100 * summary["accuracy"]["value"]
    axes.axhline(greedy, color=palette.muted, linewidth=1, linestyle=(0, (4, 3)), label="greedy")
    if summary["majority_at_k"] is not None:
        majority = 100 * summary["majority_at_k"]["value"]
        axes.plot([summary["k"]], [majority], color=palette.series[1], marker="s", linestyle="none", label="majority")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel("k")
    axes.set_ylabel("% solved")
    axes.grid(axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def draw_lengths(axes: Axes, problems: Sequence[Answered], palette: Palette) -> None:
    """Draw the lengths of completions: those that ended on their own, and those that were cut at the limit."""
    attempts = [attempt for problem in problems for attempt in (problem.greedy, *problem.samples)]
    tokens = [attempt.tokens for attempt in attempts]
    low, high = min(tokens), max(tokens)
    # Bins of whole tokens, one for each length if there are few.
    width = max(1, -(-(high - low + 1) // _BINS))
    edges = np.arange(low, high + width + 1, width) - 0.5
    parts = [[a.tokens for a in attempts if a.finished], [a.tokens for a in attempts if not a.finished]]
    axes.hist(
        parts,
        edges.tolist(),
        stacked=True,
        color=[palette.series[0], palette.limit],
        label=["ended", "cut at the limit"],
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("tokens")
    axes.set_ylabel("completions")
    axes.grid(axis="y")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

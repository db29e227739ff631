"""Build an evaluation's report: one file without external resources; its only script displays completions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from r2vpo.config.numbers import about_intervals, count, percent, significant
from r2vpo.evaluation.completions import Answered
from r2vpo.evaluation.folder import EvaluationFolder
from r2vpo.evaluation.result import columns_shown, measures_shown, value_at
from r2vpo.evaluation.schema import EvaluationConfig
from r2vpo.report.completions import shared_beginning
from r2vpo.report.evaluation_figures import draw_by_difficulty, draw_lengths, draw_passes
from r2vpo.report.page import write_page
from r2vpo.report.palette import Palette
from r2vpo.report.svg import inline_svg, on_axes

_TEMPLATE = Path(__file__).parent / "evaluation.html.j2"


def build_evaluation_report(folder: EvaluationFolder) -> Path:
    """Draw `report.html` from the files of a complete evaluation.

    Args:
        folder: the evaluation.

    Returns:
        The report's path.

    Raises:
        UserError: a file is damaged, or the evaluation is not complete.
    """
    values = page_values(folder.path.resolve().name, folder.config(), folder.read_summary(), folder.read())
    write_page(folder.report, _TEMPLATE, values)
    return folder.report


def page_values(
    title: str, config: EvaluationConfig, summary: Mapping[str, Any], problems: Sequence[Answered]
) -> dict[str, Any]:
    """Return all the values that the template shows."""
    columns = columns_shown(summary)
    baseline = summary.get("baseline")
    sizes = [measures["accuracy"]["n"] for measures in columns.values()]
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return {
        "title": title,
        "lede": [
            summary["model"],
            f"{count(summary['problems'])} problems",
            f"{summary['k']} samples each at temperature {summary['temperature']:g}" if summary["k"] else "greedy only",
            f"seed {summary['seed']}",
        ],
        "columns": dict(zip(columns, sizes, strict=True)),
        "intervals": about_intervals(sizes),
        "rows": [
            (name, [value_at(measures, key) for measures in columns.values()]) for name, key in measures_shown(summary)
        ],
        "baseline": baseline,
        "p_value": "" if baseline is None else significant(baseline["p_value"], 2),
        "facts": _facts(summary),
        "figures": _figures(summary, problems),
        "difficulties": sorted({problem.difficulty for problem in problems}),
        "data": Markup(_embedded(problems, baseline)),
        "settings": _settings(config),
        "footer": f"Drawn by r2vpo from {title}; made with {versions}.",
    }


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    facts: list[tuple[str, str, str]] = []
    for kind, name in (("greedy", "greedy"), ("sampled", "sampled")):
        lengths = summary["lengths"][kind]
        if lengths is not None:
            more = f"median {lengths['median']:.0f}, 95 % up to {lengths['p95']:.0f}"
            facts += [
                (f"tokens, {name}", f"{lengths['mean']:.1f}", more),
                (f"truncated, {name}", percent(lengths["truncated"]), ""),
                (f"entropy, {name}", significant(lengths["entropy"]), "nats per token"),
            ]
    return facts


def _figures(summary: Mapping[str, Any], problems: Sequence[Answered]) -> list[dict[str, Any]]:
    figures: list[tuple[str, str, str, Callable[[Axes, Palette], None]]] = []
    if len(summary["by_difficulty"]) > 1:
        sizes = [measures["accuracy"]["n"] for measures in summary["by_difficulty"].values()]
        caption = f"Share of problems solved; {about_intervals(sizes)}."
        figures.append(
            ("difficulty", "By difficulty", caption, lambda axes, palette: draw_by_difficulty(axes, summary, palette))
        )
    if len(summary["pass_at"]) > 1:
        about = about_intervals([summary["accuracy"]["n"]])
        caption = f"The chance that one of k samples is right: unbiased estimate, over problems; {about}."
        figures.append(("passes", "pass@k", caption, lambda axes, palette: draw_passes(axes, summary, palette)))
    kinds = "greedy and sampled" if summary["k"] else "greedy"
    caption = f"{count(len(problems) * (1 + summary['k']))} completions, {kinds}."
    figures.append(("lengths", "Length", caption, lambda axes, palette: draw_lengths(axes, problems, palette)))
    return [
        {"key": key, "title": title, "caption": caption, "svg": inline_svg(on_axes(draw), key=key)}
        for key, title, caption, draw in figures
    ]


def _embedded(problems: Sequence[Answered], baseline: Mapping[str, Any] | None) -> str:
    """Return the completions as JSON for a script element, which nothing in a completion can end."""
    outcomes = baseline["outcomes"] if baseline else [None] * len(problems)
    questions = [problem.question for problem in problems]
    shared = shared_beginning(questions)
    records = [
        {
            "n": problem.problem + 1,
            "q": asked[len(shared) :],
            "right": problem.right,
            "d": problem.difficulty,
            "outcome": outcome,
            "a": [
                [made.text, int(made.correct), made.score, made.tokens, int(made.finished)]
                for made in (problem.greedy, *problem.samples)
            ],
        }
        for problem, asked, outcome in zip(problems, questions, outcomes, strict=True)
    ]
    text = json.dumps({"shared": shared, "problems": records}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _settings(config: EvaluationConfig) -> list[tuple[str, str]]:
    suite = config.suite.model_dump(mode="json")
    rows = [(key, str(getattr(config, key))) for key in ("model", "weights", "seed", "device", "dtype")]
    rows += [("suite", suite["name"]), ("suite.seed", str(suite["seed"])), ("data.source", suite["data"]["source"])]
    path = suite["data"].get("path")
    rows += [("data.path", ", ".join(path))] if path else []
    rows.append(("reward", config.suite.reward.all_parts()[0].name))
    return rows + [(f"sampling.{key}", repr(value)) for key, value in suite["sampling"].items()]

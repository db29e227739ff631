"""Build a run's report: ``report.html``, one file without scripts that needs no external resources."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r2vpo.config.numbers import count, duration, megabytes
from r2vpo.data.options import DataOptions, DatasetOptions, HabitOptions, ReasoningGymOptions
from r2vpo.report.data import RunData, load_run
from r2vpo.report.page import render, write_page
from r2vpo.report.panels import PANELS, Panel
from r2vpo.report.svg import inline_svg

_TEMPLATE = Path(__file__).parent / "template.html.j2"


def build_report(run: Path | str) -> Path:
    """Draw ``report.html`` from the files of a finished or unfinished run.

    Args:
        run: the run's folder.

    Returns:
        The report's path.

    Raises:
        UserError: the folder is not a run's, one of its files is damaged, or the report's name is taken by a folder.
    """
    data = load_run(run)
    write_page(data.run.report, _TEMPLATE, page_values(data))
    return data.run.report


def report_html(runs: Sequence[Path | str]) -> str:
    """Return the page of one run's folder.

    Raises:
        UserError: as `build_report`.
    """
    (run,) = runs
    return render(_TEMPLATE, page_values(load_run(run)))


def page_values(data: RunData) -> dict[str, Any]:
    """Return all the values that the template shows."""
    finished = bool(data.summary)
    steps, of_steps = int(data.last("step") or 0), data.recipe.trainer.max_steps
    before, after = _whole(data.before), _whole(data.after)
    return {
        "title": data.run.path.resolve().name,
        "finished": finished,
        "state": "finished" if finished else f"unfinished: step {steps} of {of_steps}",
        "lede": _lede(data),
        "before": before,
        "after": after,
        "gain": f"{100 * (after['value'] - before['value']):+.1f}" if before and after else "",
        "gain_interval": _gain_interval(data.summary.get("accuracy_gain")),
        "difficulties": _difficulties(data),
        "facts": _facts(data, steps),
        "panels": _panels(data),
        "samples": _samples(data),
        "settings": _settings(data.recipe.model_dump(mode="json")),
        "footer": _footer(data),
    }


def _whole(accuracy: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an accuracy with all its keys, or None if it has no value."""
    if not accuracy or accuracy.get("value") is None:
        return None
    whole = {key: accuracy.get(key) for key in ("value", "low", "high", "n")}
    return whole if whole["high"] is not None else whole | {"low": None}


def _gain_interval(gain: Mapping[str, Any] | None) -> str:
    if not gain or gain.get("low") is None or gain.get("high") is None:
        return ""
    return f"95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"


def _lede(data: RunData) -> list[str]:
    recipe = data.recipe
    n = (data.after or data.before or {}).get("n")
    return [
        recipe.model.name,
        _problems(recipe.data),
        *([f"{count(n)} held-out problems"] if n else []),
        f"seed {recipe.seed}",
    ]


def _problems(data: DataOptions) -> str:
    if isinstance(data, ReasoningGymOptions):
        return ", ".join(dict.fromkeys(item.family for item in data.mixture))
    if isinstance(data, DatasetOptions):
        return ", ".join(Path(path).name for path in data.path)
    return f"{data.source}, format {data.format}" if isinstance(data, HabitOptions) else data.source


def _difficulties(data: RunData) -> list[dict[str, Any]]:
    labels = data.difficulties()
    if len(labels) < 2:
        return []
    first = data.accuracy_at(0) if data.accuracy_at(0).get("step") == 0 else {}
    last = data.accuracy_at(-1)

    def value(record: dict[str, Any], label: str) -> float | None:
        return ((record.get("by_difficulty") or {}).get(label) or {}).get("value")

    return [{"name": label, "before": value(first, label), "after": value(last, label)} for label in labels]


def _facts(data: RunData, steps: int) -> list[tuple[str, str, str]]:
    def take(key: str, metric: str | None = None) -> Any:
        return data.summary.get(key, data.last(metric or key))

    generating, training = take("seconds_generating"), take("seconds_training")
    parts = f"{duration(generating)} generating, {duration(training)} training" if training is not None else ""
    reused = take("rollouts_reused")
    facts = [
        (
            "rollouts generated",
            count(take("rollouts_generated")),
            f"{count(reused)} reused" if reused else "",
        ),
        ("optimizer steps", count(data.summary.get("optimizer_steps", steps)), ""),
        ("time", duration(take("wall_seconds", "seconds")), _unbroken(parts)),
    ]
    if silent := data.summary.get("rounds_without_signal"):
        facts.append(("rounds without signal", count(silent), "no reward differed within a group"))
    if data.summary.get("peak_memory_bytes"):
        facts.append(("peak memory", megabytes(data.summary["peak_memory_bytes"]), ""))
    return facts


def _unbroken(text: str) -> str:
    """Keep numbers and their units on one line."""
    return re.sub(r" (?=min\b|s\b|h\b|\d\d (?:s|min)\b)", "\u00a0", text)


def _panels(data: RunData) -> dict[str, list[dict[str, Any]]]:
    sections: dict[str, list[dict[str, Any]]] = {}
    for panel in PANELS:
        sections.setdefault(panel.section, []).append(_panel(panel, data))
    return sections


def _panel(panel: Panel, data: RunData) -> dict[str, Any]:
    shown = {"key": panel.key, "title": panel.title, "caption": "", "svg": ""}
    if panel.present(data):
        svg = inline_svg(lambda figure, palette: panel.draw(figure.add_subplot(), data, palette), key=panel.key)
        shown |= {"caption": panel.caption(data), "svg": svg}
    return shown


def _samples(data: RunData) -> list[dict[str, Any]]:
    """Pair completions of the same prompt from the first and last evaluations."""
    pairs: dict[str, dict[str, Any]] = {}
    first, last = data.accuracy_at(0), data.accuracy_at(-1)
    for when, evaluation in (("before", first), ("after", last)):
        if bool(evaluation.get("step")) != (when == "after"):
            continue
        for record in evaluation.get("completions") or ():
            prompt = _text(record.get("prompt"))
            pair = pairs.setdefault(
                prompt,
                {
                    "prompt": prompt,
                    "question": _question(prompt),
                    "answer": record.get("answer"),
                    "difficulty": record.get("difficulty"),
                    "before": None,
                    "after": None,
                },
            )
            pair[when] = {"completion": _text(record.get("completion")), "correct": bool(record.get("correct"))}
    return list(pairs.values())


def _text(value: Any) -> str:
    """Return a text, or the contents of a list of messages."""
    if isinstance(value, list):
        return "\n\n".join(str(item.get("content", "")) if isinstance(item, dict) else str(item) for item in value)
    return "" if value is None else str(value)


def _question(prompt: str) -> str:
    """Return the end of a prompt, which contains the question; the text before it is worked examples."""
    last = prompt.strip().split("\n\n")[-1].strip()
    return last if len(last) <= 600 else f"…{last[-600:]}"


def _settings(recipe: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    tables: dict[str, list[tuple[str, str]]] = {"run": []}
    for key, value in recipe.items():
        if isinstance(value, dict):
            tables[key] = [row for name, inner in value.items() for row in _rows(name, inner)]
        else:
            tables["run"].extend(_rows(key, value))
    return tables


def _rows(key: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [row for name, inner in value.items() for row in _rows(f"{key}.{name}" if key else name, inner)]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [
            (f"{key}.{number}", ", ".join(f"{name} {inner}" for name, inner in _rows("", item)))
            for number, item in enumerate(value)
        ]
    if isinstance(value, list):
        return [(key, ", ".join(map(repr, value)) or "none")]
    words = {None: "–", True: "yes", False: "no"}
    is_word = value is None or isinstance(value, bool)
    return [(key, words[value] if is_word else f"{value:g}" if isinstance(value, float) else str(value or value))]


def _footer(data: RunData) -> str:
    versions = data.summary.get("versions") or {}
    pairs = versions.items() if isinstance(versions, Mapping) else []
    shown = ", ".join(f"{name} {version}" for name, version in pairs)
    return f"Drawn by r2vpo from {data.run.path}{f'; made with {shown}' if shown else ''}."

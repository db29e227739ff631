"""Put a finished comparison where it lasts: its numbers, its tables and some of its figures.

    .venv/bin/python benchmarks/publish_comparison.py comparisons/habit accuracy-rollouts

writes benchmarks/results/habit.json (every evaluation of every run, V and step scale by round), docs/results/habit.md
(the tables) and docs/results/habit-accuracy-rollouts.png. Tables and figures are made from the numbers in that file:

    .venv/bin/python benchmarks/publish_comparison.py --again

makes them again for every file there, after the statistics have changed. A test holds the tables to the files.
The folder of an experiment over tasks (comparisons/no_knobs) gives one file with all of its tasks, and one page.
"""

from __future__ import annotations

import argparse
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from r2vpo.compare.across_tasks import TasksPlan
from r2vpo.compare.analysis import Results
from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.cells import base_recipe
from r2vpo.compare.collect import COURSE
from r2vpo.compare.control.cells import ControlPlan
from r2vpo.compare.control.figures import control_drawings
from r2vpo.compare.control.results import ControlResults, ControlRun, Groups, load
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.compare.control.tables import control_tables
from r2vpo.compare.day_tables import day_tables
from r2vpo.compare.drawings import drawings
from r2vpo.compare.figures import Drawing
from r2vpo.compare.regret_report import regret_parts
from r2vpo.compare.report import markdown
from r2vpo.compare.runs import COLUMN, Run, budget, lost_days, measured_on
from r2vpo.compare.schema import AccuracyOn, Experiment, Over
from r2vpo.compare.store import Store
from r2vpo.compare.tables import Table, tables
from r2vpo.compare.tasks import TasksExperiment
from r2vpo.compare.tuning import Choice, Try, choices, finalists
from r2vpo.report.svg import write_picture

ROOT = Path(__file__).parents[1]
NUMBERS, PAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "results"
COLOURS = 128


def compact(record: dict[str, Any], accuracy_on: AccuracyOn = "all", over: Over = "rollouts") -> dict[str, Any]:
    """What a figure or a table needs of one run."""
    head = {key: record.get(key) for key in ("method", "setting", "seed", "commit", "diverged", "error", "preferences")}
    kept = {key: value for key, value in head.items() if value is not None}
    kept["learning_rate"] = record["recipe"]["trainer"]["learning_rate"]
    kept["delta"] = record["recipe"]["objective"]["delta"]
    kept["wall_seconds"] = round(record["wall_seconds"], 1)
    kept["budget"] = budget(record, over)
    evaluations = measured_on(record, accuracy_on)
    kept[over] = [e[COLUMN[over]] for e in evaluations]
    kept["accuracy"] = [round(e["accuracy"], 4) for e in evaluations]
    kept["by_difficulty"] = {
        name: [round(e["by_difficulty"][name], 4) for e in evaluations]
        for name in (evaluations[0]["by_difficulty"] if evaluations else ())
    }
    if "days" in record:
        kept["days"], kept["day"] = record["days"], [e["day"] for e in evaluations]
    for name in ("decision_variance", "ratio_variance", "step_scale"):
        values = record.get("course", {}).get(name, [])
        kept[name] = [None if value is None else float(f"{value:.3g}") for value in values]
    return kept


def records(path: Path) -> list[dict[str, Any]]:
    """The finished cells of a file of one a line; none when there is no such file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [record for record in map(json.loads, lines) if "recipe" in record]


def experiment_of(content: dict[str, Any]) -> Experiment | TasksExperiment | ControlExperiment:
    """The experiment that a file of `benchmarks/results` is of."""
    return load_experiment(ROOT / "recipes" / "compare" / f"{content.get('of', content['experiment'])}.yaml")


def tasks_of(spec: TasksExperiment, content: dict[str, Any]) -> dict[str, Results]:
    """What a file of an experiment over tasks holds of each."""
    source = content["tasks"].get(spec.carried_from, {})
    carried = {choice.method: choice.value for choice in choices_of(source) if choice.value is not None}
    found = {}
    for task, part in content["tasks"].items():
        base = base_recipe(spec.recipe_of(task), spec.name)
        steps = base.trainer.optimizer_steps_per_round
        found[task] = results_of(spec.experiment(task, steps=steps, carried=carried), part)
    return found


def results_of(experiment: Experiment, content: dict[str, Any]) -> Results:
    """What a file of `benchmarks/results`, or a task of one, holds, as tables and figures take it."""
    runs = [run_of(kept) for kept in content["results"]]
    order = [(method, value) for value in experiment.values for method in experiment.methods]
    groups = {key: {run.seed: run for run in runs if (run.method, run.setting) == key} for key in order}
    return Results(
        experiment=experiment,
        groups={key: found for key, found in groups.items() if found},
        tuning=tuple(choices_of(content)),
        failures=(),
        finished=len(runs),
        total=len(runs),
    )


def control_results(spec: ControlExperiment, content: dict[str, Any]) -> ControlResults:
    """What a file of an experiment on control tasks holds."""
    groups: Groups = {}
    for kept in content["results"]:
        run = ControlRun(
            np.array(kept["steps"]), np.array(kept["return"]), kept["budget"], bool(kept.get("diverged")), kept
        )
        groups.setdefault((kept["task"], kept["method"], kept["rate"]), {})[kept["seed"]] = run
    return ControlResults.of(spec, groups, total=len(content["results"]))


def read_control(spec: ControlExperiment, folder: Path) -> dict[str, Any]:
    """The numbers of the finished cells of an experiment on control tasks."""
    plan = ControlPlan(spec, source=spec.name)
    found = load(plan, Store(folder))
    results = [
        {"method": method, "task": task, "rate": rate, "seed": seed, "commit": run.record["commit"]}
        | ({"diverged": run.record["diverged"]} if run.diverged else {})
        | {"budget": run.budget, "wall_seconds": round(run.record["wall_seconds"], 1), **run.record["curve"]}
        for (task, method, rate), group in found.groups.items()
        for seed, run in group.items()
    ]
    first = next(iter(found.runs)).record
    return {"machine": first["machine"], "versions": first["versions"], "results": results}


def run_of(kept: dict[str, Any]) -> Run:
    """One run of a file; one that diverged answers nothing from its last evaluation on."""
    lists = {"": kept["accuracy"], **kept["by_difficulty"]}
    spent, days = list(kept["rollouts"] if "rollouts" in kept else kept["steps"]), list(kept.get("day", ()))
    if kept.get("diverged"):
        spent += [spent[-1], max(kept["budget"], spent[-1] + 1)]
        if days:
            lost = lost_days(kept["days"], days[-1], spent[-1])
            spent += [end for _, end in lost]
            days += [days[-1], days[-1], *(day for day, _ in lost)]
        lists = {name: [*values, *[0.0] * (len(spent) - len(values))] for name, values in lists.items()}
    columns = {name: np.array(values, dtype=np.float64) for name, values in lists.items()}
    return Run(
        method=kept["method"],
        setting=kept.get("setting"),
        seed=kept["seed"],
        spent=np.array(spent, dtype=np.float64),
        seconds=np.full(len(spent), np.nan),
        accuracy=columns.pop(""),
        by_difficulty=columns,
        course=dict.fromkeys(("spent", *COURSE), np.array([np.nan])),
        wall_seconds=kept["wall_seconds"],
        diverged=bool(kept.get("diverged")),
        record=kept,
        days=np.array(days, dtype=np.float64) if days else None,
    )


def choices_of(content: dict[str, Any]) -> list[Choice]:
    """The tries of every method, as the file lists them."""
    return [
        Choice(method, tuple(Try(value, tuple(areas)) for value, areas in tries))
        for method, tries in content.get("tries", {}).items()
    ]


def parts(content: dict[str, Any]) -> tuple[list[Table], list[Drawing]]:
    """The tables of a page, and the figures that it shows."""
    spec = experiment_of(content)
    if isinstance(spec, TasksExperiment):
        made, drawn = regret_parts(spec, tasks_of(spec, content))
    elif isinstance(spec, ControlExperiment):
        control = control_results(spec, content)
        made, drawn = control_tables(control), control_drawings(control)
    else:
        results = results_of(spec, content)
        made, drawn = day_tables(results) + tables(results), drawings(results)
    return made, [drawing for drawing in drawn if drawing.key in content["figures"]]


def page(content: dict[str, Any]) -> str:
    """A page of docs/results: facts, tables, and the figures that are shown."""
    facts = [tuple(fact) for fact in content["facts"]]
    return markdown(content["experiment"], facts, *parts(content), f"{content['experiment']}-")


def write_figures(content: dict[str, Any]) -> None:
    """The figures that the page shows."""
    for drawing in parts(content)[1]:
        held = io.BytesIO()
        write_picture(held, drawing.draw)
        image = Image.open(held).convert("RGB").quantize(COLOURS)
        image.save(PAGES / f"{content['experiment']}-{drawing.key}.png", optimize=True)


def make_again(content: dict[str, Any]) -> None:
    """Write page and figures of a file."""
    (PAGES / f"{content['experiment']}.md").write_text(page(content))
    write_figures(content)


def published() -> list[dict[str, Any]]:
    """Every comparison of `benchmarks/results`."""
    found = [json.loads(path.read_text()) for path in sorted(NUMBERS.glob("*.json"))]
    return [content for content in found if "experiment" in content]


def read(folder: Path, figures: list[str]) -> dict[str, Any]:
    """The content of a file for a folder that `r2vpo compare` wrote."""
    name = folder.resolve().name
    facts = re.findall(r"^- (\w[\w ]*): (.*)$", (folder / "report.md").read_text().partition("\n## ")[0], re.MULTILINE)
    head = {"experiment": name, "facts": facts, "figures": figures}
    spec = experiment_of(head)
    if isinstance(spec, ControlExperiment):
        return head | read_control(spec, folder)
    if not isinstance(spec, TasksExperiment):
        return head | read_cells(folder, spec.accuracy_on, over=spec.over)
    plans = TasksPlan.of(spec, name, folder.parent)
    parts = {
        task: read_cells(folder.parent / f"{name}.{task}", one.accuracy_on or spec.accuracy_on, keys_of(plans, task))
        for task, one in spec.tasks.items()
    }
    return head | {"tasks": {task: part for task, part in parts.items() if part["results"]}}


def keys_of(plans: TasksPlan, task: str) -> set[str]:
    """The cells that a task has now: a folder may hold others, of a recipe or a carried rate that has changed."""
    plan = plans.plan(task)
    found = choices(plan, Store(plans.out / plan.experiment.name))
    return {cell.key for cell in [*plan.tuning(), *plan.results(finalists(plan, found))]}


def read_cells(
    folder: Path, accuracy_on: AccuracyOn, keys: set[str] | None = None, over: Over = "rollouts"
) -> dict[str, Any]:
    """The numbers of the finished cells of a folder, all or those of these keys."""
    results, tuning = (
        [record for record in records(folder / name) if keys is None or record["cell"] in keys]
        for name in ("results.jsonl", "tuning.jsonl")
    )
    tries: dict[str, dict[float, list[float]]] = {}
    for record in sorted(tuning, key=lambda record: record["seed"]):
        run = run_of(compact(record, accuracy_on, over))
        tries.setdefault(run.method, {}).setdefault(float(record["setting"]), []).append(run.area())
    first = next(iter(results or tuning), {})
    return {
        "machine": first.get("machine"),
        "versions": first.get("versions"),
        "tries": {method: list(found.items()) for method, found in tries.items()},
        "results": [compact(record, accuracy_on, over) for record in results],
        "tuning": [compact(record, accuracy_on, over) for record in tuning],
    }


def main() -> None:
    """Write the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="what `r2vpo compare` wrote")
    parser.add_argument("figures", nargs="*", help="names of its figures, without .png")
    parser.add_argument("--again", action="store_true", help="make every page again from its file of numbers")
    arguments = parser.parse_args()
    if arguments.again == bool(arguments.folder):
        parser.error("give the folder of a comparison, or --again")
    if arguments.again:
        for content in published():
            make_again(content)
        return
    content = read(arguments.folder, arguments.figures)
    text = json.dumps(content).replace('{"method"', '\n{"method"')
    (NUMBERS / f"{content['experiment']}.json").write_text(text + "\n")
    make_again(content)


if __name__ == "__main__":
    main()

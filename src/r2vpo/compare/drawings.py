"""Choose the figures that the finished cells of an experiment allow, with their captions."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from r2vpo.compare import figures
from r2vpo.compare.analysis import Results, median_of
from r2vpo.compare.figures import Drawing
from r2vpo.compare.runs import Run
from r2vpo.compare.schema import Value, label
from r2vpo.compare.statistics import FEWEST_SEEDS, Array
from r2vpo.intervals import Interval

_BAND = "Median over seeds; the band contains the middle half of the seeds."
_COURSES = (
    ("entropy", "Entropy", "Mean entropy of the next token, in nats. " + _BAND, figures.value_axes),
    (
        "decision_variance",
        "Ratio variance per decision, V_d",
        "At each round's last step. " + _BAND,
        figures.log_value_axes,
    ),
    (
        "dual",
        "Multiplier λ",
        "At each round's last step; methods without a multiplier are not drawn. " + _BAND,
        figures.log_value_axes,
    ),
    (
        "step_scale",
        "Scale of the learning rate",
        "1 is the learning rate that was tuned or set. " + _BAND,
        figures.log_value_axes,
    ),
)


def drawings(results: Results) -> list[Drawing]:
    """Return every figure that has something to show, in the report's order."""
    if not results.runs:
        return []
    if results.experiment.settings is not None:
        return [*_axis(results), *_each_setting(results), _collapse(results)]
    return [*_curves(results), _collapse(results)]


def _curves(results: Results) -> Iterator[Drawing]:
    """Yield the figures of an experiment without an axis."""
    yield _accuracy(results, None)
    caption = f"Seconds spent generating and training, without evaluation; cells may have run at the same time. {_BAND}"
    yield figures.curves(
        results, None, lambda run: (run.seconds, run.accuracy), figures.seconds_axes, x_label="seconds"
    ).drawing("accuracy-seconds", "Accuracy against time", caption)
    if results.experiment.target_of_runs is not None:
        yield _survival(results, None, results.experiment.target_of_runs)
    if results.difficulties:
        drawing = figures.by_difficulty(results)
        yield Drawing("difficulty", "Final accuracy by difficulty", _medians(results), drawing)
    for name, title, caption, finish in _COURSES:
        if any(_drawable(run, name) for run in results.runs):
            lines = figures.curves(results, None, partial(_course, name=name), finish)
            yield lines.drawing(name.replace("_", "-"), title, caption)


def _axis(results: Results) -> Iterator[Drawing]:
    """Yield accuracy, area and collapses over a numeric axis."""
    settings = results.experiment.settings
    if settings is None or not settings.numeric or len(results.settings) < 2:
        return

    def collapsed(runs: list[Run]) -> Interval:
        return Interval(sum(run.collapsed for run in runs) / len(runs), None, None, len(runs))

    medians = _medians(results)
    for key, title, caption, measure in (
        ("axis-final", "Final accuracy", medians, partial(median_of, measure=Run.final)),
        ("axis-area", "Area under the accuracy curve", medians, partial(median_of, measure=Run.area)),
        ("axis-collapse", "Share of runs that collapse", "Share of all seeds at each value.", collapsed),
    ):
        yield figures.over_axis(results, measure).drawing(key, f"{title} against {settings.name}", caption)


def _each_setting(results: Results) -> Iterator[Drawing]:
    """Yield the accuracy curves at every value of the axis."""
    for value in results.settings:
        yield _accuracy(results, value)
        if results.experiment.target_of_runs is not None:
            yield _survival(results, value, results.experiment.target_of_runs)


def _collapse(results: Results) -> Drawing:
    caption = "A run collapses if it ends at less than half of its best accuracy, or with weights that are not finite."
    return Drawing("collapse", "Share of runs that collapse", caption, figures.collapse(results))


def _accuracy(results: Results, value: Value | None) -> Drawing:
    key, title = _named(
        results, f"accuracy-{results.experiment.over}", f"Accuracy against {results.experiment.unit}", value
    )
    lines = figures.curves(results, value, lambda run: (run.spent, run.accuracy), figures.accuracy_axes)
    caption = f"Greedy accuracy on the held-out problems. {_BAND}"
    if results.experiment.days is not None:
        caption += " On a new day, the problems are others, so that the accuracy may fall at once."
    return lines.drawing(key, title, caption)


def _survival(results: Results, value: Value | None, target: float) -> Drawing:
    key, title = _named(
        results, f"{results.experiment.over}-to-target", f"Runs that have not reached {100 * target:g} %", value
    )
    caption = "Share of the seeds that have not reached the target so far (Kaplan and Meier); lower is better."
    return figures.survival(results, value, target).drawing(key, title, caption)


def _medians(results: Results) -> str:
    enough = any(len(group) >= FEWEST_SEEDS for group in results.groups.values())
    return "Median over seeds" + (" with its 95 % interval." if enough else "; too few seeds for an interval.")


def _named(results: Results, key: str, title: str, value: Value | None) -> tuple[str, str]:
    settings = results.experiment.settings
    if settings is None or value is None:
        return key, title
    place = results.experiment.values.index(value)
    return f"{key}-{place}", f"{title}, {settings.name} {label(value)}"


def _course(run: Run, name: str) -> tuple[Array, Array]:
    rounds = run.course["spent"]
    # a record from before a metric existed does not have it
    y = run.course.get(name, np.full(len(rounds), np.nan))
    # where a method has none, V_d is 0 and lambda is missing: neither can be drawn on a logarithmic axis
    shown = np.where(y > 0, y, np.nan) if name != "entropy" else y
    return rounds, shown


def _drawable(run: Run, name: str) -> bool:
    return bool(np.isfinite(_course(run, name)[1]).any())

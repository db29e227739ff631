"""Figures of a comparison that is not finished."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from r2vpo.compare.control.figures import control_drawings
from r2vpo.compare.control.results import load
from r2vpo.compare.store import Store
from r2vpo.report.palette import LIGHT
from tests.unit.compare.control.helpers import plan, record


def test_the_legend_has_every_method_once_also_if_a_task_lacks_one(tmp_path: Path) -> None:
    made = plan()
    store = Store(tmp_path / made.experiment.name)
    for cell in made.cells():
        if (cell.task_name, cell.method) != ("pendulum", "ours"):
            store.add(cell, record(cell, [0.0, 1.0, 2.0]))
    drawing = control_drawings(load(made, store))[0]
    figure = Figure(layout="constrained")
    drawing.draw(figure, LIGHT)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["PPO", "ours"]


def test_a_grid_has_no_empty_columns_and_a_profile_reaches_the_best_run(tmp_path: Path) -> None:
    made = plan()
    store = Store(tmp_path / made.experiment.name)
    for cell in made.cells():
        best = (cell.method, cell.seed) == ("ours", 10)
        store.add(cell, record(cell, [0.0, 3.0 if best else 1.0]))
    returns, profile = (Figure(layout="constrained") for _ in range(2))
    for drawing, figure in zip(control_drawings(load(made, store)), (returns, profile), strict=True):
        drawing.draw(figure, LIGHT)
    assert len(returns.axes) == 2
    (axes,) = profile.axes
    assert all(line.get_ydata()[-1] == 0 for line in axes.get_lines()), "every run is within the axis"

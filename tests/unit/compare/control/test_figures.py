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

"""The picture of a run for READMEs: three panels of the report, and one with lambda and the scale together."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r2vpo.report.axes import STEPS, legend_above, log_axis, open_axes
from r2vpo.report.data import RunData, load_run
from r2vpo.report.palette import DASHES, Palette
from r2vpo.report.panels import PANELS, Panel
from r2vpo.report.svg import write_picture


def build_picture(run: Path | str, path: Path) -> Path:
    """Write four panels to one PNG: accuracy, V_d against its target, lambda and the learning-rate scale, rollouts.

    Args:
        run: the run's folder.
        path: the file to write.

    Returns:
        The picture's path.
    """
    data = load_run(run)
    of_report = {panel.key: panel for panel in PANELS}
    panels = (of_report["accuracy"], of_report["variance"], _CONTROL, of_report["rollouts"])

    def draw(figure: Figure, palette: Palette) -> None:
        figure.set_size_inches(11, 6.4)
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
        for axes, panel in zip(figure.subplots(2, 2).flat, panels, strict=True):
            axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold", pad=24)
            if panel.present(data):
                panel.draw(axes, data, palette)
            else:
                axes.set_axis_off()
                axes.text(0.5, 0.5, "nothing has been recorded yet", ha="center", va="center", transform=axes.transAxes)

    write_picture(path, draw)
    return path


def _draw_control(axes: Axes, data: RunData, palette: Palette) -> None:
    dual, scale = data.series("dual", minimum=0.0), data.series("step_scale", minimum=0.0)
    if dual:
        axes.plot(dual.x, dual.y, color=palette.series[1], label="λ")
    if scale:
        axes.plot(scale.x, scale.y, color=palette.series[2], linestyle=DASHES[1], label="learning-rate scale")
    log_axis(axes, dual.y + scale.y)
    open_axes(axes, STEPS)
    legend_above(axes)


_CONTROL = Panel(
    key="control",
    section="",
    title="Multiplier λ and learning-rate scale",
    draw=_draw_control,
    caption=lambda data: "",
    present=lambda data: bool(data.series("dual") or data.series("step_scale")),
)

"""The panels of the picture for READMEs: some from the report, and one with lambda and the scale together."""

from matplotlib.axes import Axes

from r2vpo.report.curves import log_axis
from r2vpo.report.data import RunData
from r2vpo.report.palette import LIGHT
from r2vpo.report.panels import PANELS


def draw_picture_panel(axes: Axes, data: RunData, key: str) -> None:
    """Draw one panel with its title, or a note that nothing was recorded.

    Args:
        axes: the axes to draw on.
        data: the run.
        key: a panel of the report, or ``control``.
    """
    panels = {panel.key: panel for panel in PANELS}
    if key == "control":
        title, present = (
            "Multiplier λ and learning-rate scale",
            bool(data.series("dual") or data.series("step_scale")),
        )
    else:
        title, present = panels[key].title, panels[key].present(data)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=24)
    if not present:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing was recorded yet", ha="center", va="center", transform=axes.transAxes)
    elif key == "control":
        _control(axes, data)
    else:
        panels[key].draw(axes, data, LIGHT)


def _control(axes: Axes, data: RunData) -> None:
    dual, scale = data.series("dual", minimum=0.0), data.series("step_scale", minimum=0.0)
    if dual:
        axes.plot(dual.x, dual.y, color=LIGHT.series[1], label="λ")
    if scale:
        axes.plot(scale.x, scale.y, color=LIGHT.series[2], linestyle=(0, (5, 1.6)), label="learning-rate scale")
    log_axis(axes, dual.y + scale.y)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("optimizer steps")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2)

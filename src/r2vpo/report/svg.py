"""Write a matplotlib figure as SVG with the fonts and colours of a page and with unique ids, or as a PNG."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r2vpo.report.palette import CSS_VARIABLES, LIGHT, PLACEHOLDERS, Palette

Draw = Callable[[Figure, Palette], None]

SIZE_INCHES = (5.0, 2.75)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "r2vpo",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def _style(palette: Palette) -> Any:
    return _STYLE | {
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "axes.edgecolor": palette.grid,
        "axes.labelcolor": palette.muted,
        "text.color": palette.ink,
        "xtick.color": palette.grid,
        "ytick.color": palette.grid,
        "xtick.labelcolor": palette.muted,
        "ytick.labelcolor": palette.muted,
        "grid.color": palette.grid,
        "grid.linewidth": 0.8,
    }


def on_axes(draw: Callable[[Axes, Palette], None]) -> Draw:
    """Make what draws on axes draw on a figure."""
    return lambda figure, palette: draw(figure.add_subplot(), palette)


def inline_svg(draw: Draw, *, key: str) -> Markup:
    """Draw a figure as SVG to be put into an HTML page.

    Args:
        draw: draws on an empty figure, whose size it may set.
        key: unique on the page; every id in the SVG begins with it.

    Returns:
        An ``svg`` element without size, namespaces, metadata or fonts; hidden from screen readers, which read the
        figure's own text.
    """
    with matplotlib.rc_context(_style(PLACEHOLDERS)):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        draw(figure, PLACEHOLDERS)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_adopt(buffer.getvalue(), key))


def write_picture(file: Path | IO[bytes], draw: Draw) -> None:
    """Draw a figure as a PNG in the light colours.

    Args:
        file: where to.
        draw: draws on an empty figure, whose size it sets.
    """
    with matplotlib.rc_context(_style(LIGHT) | {"figure.facecolor": "white"}):
        figure = Figure(layout="constrained", dpi=160)
        draw(figure, LIGHT)
        figure.savefig(file, format="png", metadata={"Software": None})


def _adopt(svg: str, key: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head_end = svg.index(">")
    view_box = re.search(r'viewBox="([^"]+)"', svg[:head_end])
    assert view_box is not None, "matplotlib writes one"
    svg = f'<svg viewBox="{view_box[1]}" aria-hidden="true" focusable="false"{svg[head_end:]}'
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = re.sub(r'\bxlink:href="#', f'href="#{key}-', svg)
    svg = re.sub(r"url\(#", f"url(#{key}-", svg)
    # the page's own font; matplotlib has measured with a wider one, so nothing overflows
    svg = re.sub(r"font: (?:[\w.]+ )*?([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]+;?", "", svg)
    for color, variable in CSS_VARIABLES.items():
        svg = svg.replace(color, variable)
    return re.sub(r"\n\s*", "\n", svg).strip()

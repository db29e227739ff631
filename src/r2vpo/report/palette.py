"""Colours of the curves: real colours for pictures, CSS variables for the page, which has a light and a dark mode."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Look(NamedTuple):
    """Appearance of one of several curves: they also differ in black and white."""

    color: str
    dashes: Any
    marker: str


@dataclass(frozen=True)
class Palette:
    """Colours by role: ``series`` distinguish curves, ``ink`` is for the most important and ``muted`` for less."""

    ink: str
    muted: str
    grid: str
    limit: str
    series: tuple[str, ...]

    def look(self, number: int) -> Look:
        """Return the appearance of a curve by its number; after the last one they begin again."""
        color, dashes, marker = (kinds[number % len(kinds)] for kinds in (self.series, DASHES, MARKERS))
        return Look(str(color), dashes, str(marker))


DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (8, 2)))
MARKERS = "os^Dvp"

LIGHT = Palette(
    ink="#1d2530",
    muted="#5b6673",
    grid="#e3e7ec",
    limit="#b3261e",
    series=("#2563c9", "#b4540a", "#0d7a6f", "#8439b0", "#a8325c", "#5f6c00"),
)

# Unlikely colours, so that each can be found in the SVG and replaced by its CSS variable.
PLACEHOLDERS = Palette(
    ink="#010a01",
    muted="#010a02",
    grid="#010a03",
    limit="#010a04",
    series=("#010a11", "#010a12", "#010a13", "#010a14", "#010a15", "#010a16"),
)

CSS_VARIABLES = {
    PLACEHOLDERS.ink: "var(--ink)",
    PLACEHOLDERS.muted: "var(--muted)",
    PLACEHOLDERS.grid: "var(--grid)",
    PLACEHOLDERS.limit: "var(--limit)",
    **{color: f"var(--series-{number})" for number, color in enumerate(PLACEHOLDERS.series, start=1)},
}

"""Colours of the curves: real ones for pictures, CSS variables for the page, which knows light and dark."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Palette:
    """Colours by role: ``series`` tell curves apart, ``ink`` matters most and ``muted`` less."""

    ink: str
    muted: str
    grid: str
    limit: str
    series: tuple[str, ...]


DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)), (0, (8, 2)))
MARKERS = "os^Dvp"

LIGHT = Palette(
    ink="#1d2530",
    muted="#5b6673",
    grid="#e3e7ec",
    limit="#b3261e",
    series=("#2563c9", "#b4540a", "#0d7a6f", "#8439b0", "#a8325c", "#5f6c00"),
)

# Colours that nobody would choose, so that each can be found in the SVG and replaced by its CSS variable.
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

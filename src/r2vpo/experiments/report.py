"""The report of a comparison: one page that needs nothing else, the same as Markdown, and every figure as a PNG."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import r2vpo.report
from r2vpo.experiments.analysis import Results, load_results
from r2vpo.experiments.cells import Plan
from r2vpo.experiments.drawings import drawings
from r2vpo.experiments.figures import Drawing
from r2vpo.experiments.runs import Run
from r2vpo.experiments.store import Store
from r2vpo.experiments.tables import Table, tables
from r2vpo.report.palette import LIGHT, PLACEHOLDERS, Palette
from r2vpo.report.svg import inline_svg, style
from r2vpo.training.numbers import duration
from r2vpo.training.records import write_atomically

_FOLDER = Path(__file__).parent
_STYLE = Path(r2vpo.report.__file__).parent / "style.css"


def build_comparison_report(plan: Plan, out: Path) -> list[Path]:
    """Draw ``report.html``, ``report.md`` and the PNGs from what is finished.

    Args:
        plan: the experiment's cells.
        out: the folder of comparisons.

    Returns:
        The two files.
    """
    store = Store(out / plan.experiment.name)
    results = load_results(plan, store)
    return write_report(store.folder, plan.experiment.name, _facts(results, plan), tables(results), drawings(results))


def write_report(
    folder: Path, name: str, facts: list[tuple[str, str]], made: list[Table], shown: list[Drawing]
) -> list[Path]:
    """Write ``report.html``, ``report.md`` and the PNGs of a comparison.

    Args:
        folder: where to; made if it is not there.
        name: the heading.
        facts: how the cells were run, by name.
        made: the tables.
        shown: the figures.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, text = folder / "report.html", folder / "report.md"
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(_FOLDER),
    )
    html = environment.get_template("report.html.j2").render(
        title=name,
        style=Markup(_STYLE.read_text(encoding="utf-8")),
        facts=facts,
        tables=made,
        figures=[_figure(drawing) for drawing in shown],
    )
    write_atomically(page, html)
    _write_pictures(shown, folder / "figures")
    write_atomically(text, markdown(name, facts, made, shown, "figures/"))
    return [page, text]


def _facts(results: Results, plan: Plan) -> list[tuple[str, str]]:
    """What has to be known of how the cells were run."""
    facts = [
        ("cells", f"{results.finished} of {results.total} finished"),
        ("seeds", f"{plan.seeds[0]} to {plan.seeds[-1]}"),
    ]
    if results.runs:
        budget = max(int(run.rollouts[-1]) for run in results.runs)
        facts += [("rollouts a run", f"{budget:,}"), *facts_of_runs(results.runs)]
    return facts


def facts_of_runs(runs: list[Run]) -> list[tuple[str, str]]:
    """Time, machine, versions and commit of at least one finished run."""
    records = [run.record for run in runs]
    return [
        ("time", f"{duration(sum(run.wall_seconds for run in runs))} for all runs one after the other"),
        ("machine", _distinct(_machine(record) for record in records)),
        ("versions", _distinct(_versions(record) for record in records)),
        ("commit", _distinct(record.get("commit") or "not known" for record in records)),
    ]


def _machine(record: dict[str, Any]) -> str:
    machine = record["machine"]
    threads = f"{machine['threads']} thread" + ("s" if machine["threads"] > 1 else "")
    return f"{machine['cpu']}, {machine['cores']} cores, {threads} a run"


def _versions(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items())


def _distinct(values: Iterable[str]) -> str:
    """All values that occur: a comparison over several machines or versions has to say so."""
    return "; ".join(dict.fromkeys(values))


def _figure(drawing: Drawing) -> dict[str, Any]:
    def draw(axes: Axes, palette: Palette) -> None:
        figure: Any = axes.figure
        axes.remove()
        drawing.draw(figure, palette)

    svg = inline_svg(draw, PLACEHOLDERS, key=drawing.key)
    return {
        "key": drawing.key,
        "title": drawing.title,
        "caption": drawing.caption,
        "wide": drawing.wide,
        "svg": Markup(svg),
    }


def _write_pictures(shown: Iterable[Drawing], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink(missing_ok=True)
    for drawing in shown:
        with matplotlib.rc_context(style(LIGHT) | {"figure.facecolor": "white"}):
            figure = Figure(layout="constrained", dpi=160)
            drawing.draw(figure, LIGHT)
            figure.savefig(folder / f"{drawing.key}.png", format="png", metadata={"Software": None})


def markdown(
    name: str, facts: Iterable[tuple[str, str]], made: Iterable[Table], shown: Iterable[Drawing], pictures: str
) -> str:
    """A comparison as Markdown.

    Args:
        name: the heading.
        facts: how the cells were run, by name.
        made: the tables.
        shown: the figures.
        pictures: what stands before a figure's key in the name of its file.
    """
    parts = [f"# {name}", "\n".join(f"- {key}: {value}" for key, value in facts)]
    for table in made:
        head = "| " + " | ".join(map(_cell, table.columns)) + " |"
        rows = ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
        rule = "|" + "---|" * len(table.columns)
        parts += [f"## {table.title}", table.note, "\n".join([head, rule, *rows])]
    for drawing in shown:
        parts += [f"## {drawing.title}", f"![{drawing.title}]({pictures}{drawing.key}.png)", f"*{drawing.caption}*"]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Report of a comparison: one self-contained page, the same as Markdown, and every figure as a PNG."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r2vpo.compare.analysis import Results, load_results
from r2vpo.compare.cells import Plan
from r2vpo.compare.day_tables import day_tables
from r2vpo.compare.drawings import drawings
from r2vpo.compare.figures import Drawing
from r2vpo.compare.runs import Run
from r2vpo.compare.store import Store
from r2vpo.compare.tables import Table, tables
from r2vpo.config.numbers import duration
from r2vpo.config.records import write_atomically
from r2vpo.report.page import write_page
from r2vpo.report.svg import inline_svg, write_picture

_TEMPLATE = Path(__file__).parent / "report.html.j2"
_FOOTER = "Drawn by r2vpo from results.jsonl and tuning.jsonl in this folder; report.md has the same content."


def build_comparison_report(plan: Plan, out: Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and the PNGs from the finished cells.

    Args:
        plan: the experiment's cells.
        out: the folder of comparisons.

    Returns:
        The two files.
    """
    store = Store(out / plan.experiment.name)
    results = load_results(plan, store)
    made = day_tables(results) + tables(results)
    return write_report(store.folder, plan.experiment.name, _facts(results, plan), made, drawings(results))


def write_report(
    folder: Path, name: str, facts: list[tuple[str, str]], made: list[Table], shown: list[Drawing]
) -> list[Path]:
    """Write ``report.html``, ``report.md`` and the PNGs of a comparison.

    Args:
        folder: the folder to write to; created if missing.
        name: the heading.
        facts: how the cells were run, by name.
        made: the tables.
        shown: the figures.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, text = folder / "report.html", folder / "report.md"
    drawn = [vars(drawing) | {"svg": inline_svg(drawing.draw, key=drawing.key)} for drawing in shown]
    values = {"title": name, "lede": [], "facts": facts, "tables": made, "drawings": drawn, "footer": _FOOTER}
    write_page(page, _TEMPLATE, values)
    _write_pictures(shown, folder / "figures")
    write_atomically(text, markdown(name, facts, made, shown, "figures/"))
    return [page, text]


def _facts(results: Results, plan: Plan) -> list[tuple[str, str]]:
    """Return the facts about how the cells were run."""
    facts = [
        ("cells", f"{results.finished} of {results.total} finished"),
        ("seeds", f"{plan.seeds[0]} to {plan.seeds[-1]}"),
    ]
    if results.runs:
        budget = max(int(run.spent[-1]) for run in results.runs)
        facts += [(f"{plan.experiment.unit} per run", f"{budget:,}"), *facts_of_runs(results.runs)]
    return facts


def facts_of_runs(runs: list[Run]) -> list[tuple[str, str]]:
    """Return time, machine, versions and commit of finished runs, of which there is at least one."""
    return facts_of_records([run.record for run in runs])


def facts_of_records(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the same of the records of finished cells."""
    return [
        ("time", f"{duration(sum(record['wall_seconds'] for record in records))}, summed over all runs"),
        ("machine", _distinct(_machine(record) for record in records)),
        ("versions", _distinct(_versions(record) for record in records)),
        ("commit", _distinct(record.get("commit") or "unknown" for record in records)),
    ]


def _machine(record: dict[str, Any]) -> str:
    machine = record["machine"]
    threads = f"{machine['threads']} thread" + ("s" if machine["threads"] > 1 else "")
    return f"{machine['cpu']}, {machine['cores']} cores, {threads} per run"


def _versions(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items())


def _distinct(values: Iterable[str]) -> str:
    """Return all values that occur, since a comparison over several machines or versions must report them."""
    return "; ".join(dict.fromkeys(values))


def _write_pictures(shown: Iterable[Drawing], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink(missing_ok=True)
    for drawing in shown:
        write_picture(folder / f"{drawing.key}.png", drawing.draw)


def markdown(
    name: str, facts: Iterable[tuple[str, str]], made: Iterable[Table], shown: Iterable[Drawing], pictures: str
) -> str:
    """Format a comparison as Markdown.

    Args:
        name: the heading.
        facts: how the cells were run, by name.
        made: the tables.
        shown: the figures.
        pictures: prefix of a figure's key in the name of its file.
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

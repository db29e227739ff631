"""Build the report of one run or several: one interactive page that needs nothing from outside itself."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2vpo.config.numbers import interval
from r2vpo.config.records import write_atomically
from r2vpo.report.charts import CHARTS
from r2vpo.report.completions import LONGEST_TEXT, completions
from r2vpo.report.data import RunData, load_run
from r2vpo.report.overview import compared, overview
from r2vpo.report.page import render
from r2vpo.report.series import MOST_POINTS, curves
from r2vpo.report.settings import differences, settings
from r2vpo.report.stored import stored

MOST_BYTES = 2_600_000
"""Of the embedded data as it is written to the page, which adds about 0.1 MB."""

_TEMPLATE = Path(__file__).parent / "run.html.j2"


def build_report(run: Path | str) -> Path:
    """Write ``report.html`` into the folder of a finished or unfinished run.

    Args:
        run: the run's folder.

    Returns:
        The report's path.

    Raises:
        UserError: the folder is not a run's, one of its files is damaged, or the report's name is taken by a folder.
    """
    data = load_run(run)
    write_atomically(data.run.report, _html([data]))
    return data.run.report


def build_overlay(runs: Sequence[Path | str], out: Path) -> Path:
    """Write a page that shows several runs in the same charts.

    Args:
        runs: the folders of the runs, in the order in which they are shown.
        out: the file to write.

    Returns:
        It.

    Raises:
        UserError: as `build_report`.
    """
    write_atomically(out, report_html(runs))
    return out


def report_html(runs: Sequence[Path | str]) -> str:
    """Return the page of one run's folder or several.

    A page that is open takes new data by ``window.r2vpo.update(data)``, with the object that `page_data` returns.

    Raises:
        UserError: as `build_report`.
    """
    return _html([load_run(run) for run in runs])


def page_data(runs: Sequence[RunData]) -> dict[str, Any]:
    """Return everything that the page shows, as JSON; completions are left out until it fits into `MOST_BYTES`."""
    names = _names(runs)
    most = MOST_POINTS // len(runs)
    data: dict[str, Any] = {
        "title": " and ".join(names) if len(names) < 3 else f"{len(names)} runs",
        "charts": [chart.to_json() for chart in CHARTS],
        "runs": [
            {"name": name}
            | overview(run)
            | {"tables": curves(run.metrics, run.evaluations, most=most), "settings": settings(run.recipe)}
            | {"stored": stored(run)}
            for name, run in zip(names, runs, strict=True)
        ],
        "differences": differences([run.recipe for run in runs]) if len(runs) > 1 else [],
        "compared": compared(runs),
    }
    kept, longest = max(len(run.evaluations) for run in runs), LONGEST_TEXT
    data["completions"] = completions(runs)
    while (size := len(packed(data))) > MOST_BYTES and longest > 100:
        if kept > 2:
            kept = max(2, min(kept - 1, int(0.95 * kept * MOST_BYTES / size)))
        else:
            longest //= 4
        data["completions"] = completions(runs, most=kept, longest=longest)
    return data


def packed(data: dict[str, Any]) -> str:
    """Return data as compressed JSON in base64, in which no text can be taken for markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), compresslevel=6, mtime=0)).decode()


def _html(runs: Sequence[RunData]) -> str:
    data = page_data(runs)
    return render(
        _TEMPLATE,
        {
            "title": data["title"],
            "lede": [],
            "plain": [_in_words(run["name"], run) for run in data["runs"]],
            "data": packed(data),
            "footer": f"Drawn by r2vpo from {', '.join(str(run.run.path) for run in runs)}.",
        },
    )


def _names(runs: Sequence[RunData]) -> list[str]:
    """Return the names of the runs' folders, or their paths where two are equal."""
    names = [run.run.path.resolve().name for run in runs]
    return [name if names.count(name) == 1 else str(run.run.path) for name, run in zip(names, runs, strict=True)]


def _in_words(name: str, run: dict[str, Any]) -> str:
    """Return the result of a run for a browser without scripts."""
    result = run["result"]
    return f"{name}, {run['state']}: accuracy {interval(result['before'])} before, {interval(result['after'])} now."

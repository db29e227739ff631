"""``r2vpo report``: draw a run's report again, or several runs in one."""

import argparse
from pathlib import Path

from r2vpo.cli.failures import Session
from r2vpo.config.run_directory import open_run
from r2vpo.errors import UserError
from r2vpo.optional import require


def report(arguments: argparse.Namespace, session: Session) -> None:
    """Draw the page of one run or several, and the picture if one is wanted."""
    runs = [open_run(run).path for run in arguments.runs]
    doubled = next(
        (run for place, run in enumerate(runs) if run.resolve() in [r.resolve() for r in runs[:place]]), None
    )
    if doubled is not None:
        raise UserError(f"{doubled}: this run is named twice: name each run once")
    out = None if arguments.out is None else _file(arguments.out, "--out", ".html")
    picture = None if arguments.png is None else _file(arguments.png, "--png", ".png")
    if picture is not None and len(runs) > 1:
        raise UserError("--png draws a single run: name one run, or leave --png out")
    if picture is not None:
        require("matplotlib", "--png")
    from r2vpo.report.build import build_overlay, build_report

    if out is None and len(runs) == 1:
        print(build_report(runs[0]))
    else:
        print(build_overlay(runs, out or Path("report.html")))
    if picture is not None:
        from r2vpo.report.picture import build_picture

        print(build_picture(runs[0], picture))


def _file(text: str, option: str, suffix: str) -> Path:
    path = Path(text)
    if path.suffix != suffix or (path.exists() and not path.is_file()):
        raise UserError(f"{option} {text}: name a file that ends in {suffix}")
    if not path.parent.is_dir():
        raise UserError(f"{option} {text}: there is no folder {path.parent}: create it first")
    return path

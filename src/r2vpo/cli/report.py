"""``r2vpo report``: draw a run's report again."""

import argparse
from pathlib import Path

from r2vpo.cli.failures import Session
from r2vpo.config.run_directory import open_run
from r2vpo.errors import UserError


def report(arguments: argparse.Namespace, session: Session) -> None:
    """Draw the page, and the picture if one is wanted."""
    run = open_run(arguments.run)
    picture = None if arguments.png is None else _picture(arguments.png)
    from r2vpo.report.build import build_report
    from r2vpo.report.picture import build_picture

    print(build_report(run.path))
    if picture is not None:
        print(build_picture(run.path, picture))


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".png" or (path.exists() and not path.is_file()):
        raise UserError(f"--png {text}: name a file that ends in .png")
    return path

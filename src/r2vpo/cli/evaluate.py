"""``r2vpo eval``: list suites, evaluate a model on one, or resume an evaluation."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from r2vpo.cli.failures import Session
from r2vpo.cli.train import quiet_bars
from r2vpo.config.shipped import SUITES
from r2vpo.errors import UserError
from r2vpo.evaluation.folder import open_folder
from r2vpo.evaluation.progress import EvaluationProgress
from r2vpo.evaluation.schema import EvaluationConfig, load_suite
from r2vpo.evaluation.subject import Subject, find_subject

_OVERRIDES = {"k": "sampling.k", "temperature": "sampling.temperature", "max_new_tokens": "sampling.max_new_tokens"}


def evaluate(arguments: argparse.Namespace, session: Session) -> None:
    """Run the command; problems with the suite, model or baseline are reported before work begins."""
    if arguments.list:
        _list()
        return
    config, subject, out = _resumed(arguments) if arguments.resume else _asked(arguments)
    console = Console()
    with EvaluationProgress(console) as display, session.showing(display):
        with session.loading(display):
            from r2vpo.evaluation.resolve import resolve
            from r2vpo.evaluation.result import print_summary
            from r2vpo.evaluation.run import run_evaluation
            from r2vpo.report.evaluation import build_evaluation_report

        if not arguments.debug:
            quiet_bars()
        display.status("loading the data")
        evaluation = resolve(config, subject, console)
        folder = run_evaluation(evaluation, out=out, display=display, on_start=session.evaluation_started)
    print_summary(console, folder.read_summary(), build_evaluation_report(folder))


def _asked(arguments: argparse.Namespace) -> tuple[EvaluationConfig, Subject, Path | None]:
    if arguments.model is None:
        raise UserError("eval: no model given: name one, a run or a folder (`r2vpo models` lists some)")
    if arguments.suite is None:
        raise UserError("eval: no suite given: name one with --suite (`r2vpo eval --list` lists them)")
    flags = {
        f"--{name.replace('_', '-')}": f"{key}={value}"
        for name, key in _OVERRIDES.items()
        if (value := getattr(arguments, name)) is not None
    }
    suite = load_suite(SUITES.find(arguments.suite), arguments.overrides, flags)
    subject = find_subject(arguments.model)
    win_by: dict[str, Any] = {"name": "score"}
    if arguments.win_by is not None:
        from r2vpo.evaluation.winning import parse_win_by

        win_by = parse_win_by(arguments.win_by)
        if arguments.baseline is None:
            raise UserError("--win-by says how a win over --baseline is decided: give --baseline too, or leave it out")
    config = EvaluationConfig(
        model=arguments.model,
        weights=subject.weights,
        seed=arguments.seed,
        device=_device(arguments.device),
        dtype=arguments.dtype,
        baseline=arguments.baseline,
        win_by=win_by,
        suite=suite,
    )
    return config, subject, Path(arguments.out) if arguments.out else None


def _resumed(arguments: argparse.Namespace) -> tuple[EvaluationConfig, Subject, Path]:
    given = [name for name in ("model", "suite", "baseline", "out") if getattr(arguments, name) is not None]
    if given or arguments.overrides:
        raise UserError("--resume continues with what the evaluation was started with: give only the folder")
    config = open_folder(arguments.resume).config()
    # Its original weights, even if the run has been trained since.
    return config, replace(find_subject(config.model), weights=config.weights), Path(arguments.resume)


def _device(wanted: str) -> Literal["cpu", "cuda"]:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device: use --device cpu")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def _list() -> None:
    print(*SUITES.described(), sep="\n")
    print("Evaluate on one with `r2vpo eval MODEL --suite NAME`; any path of a YAML file works too.")

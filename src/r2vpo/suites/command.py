"""Run an evaluation from beginning to end: answers, comparison, files, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from r2vpo.data.rows import digest_of
from r2vpo.models.folders import fingerprint
from r2vpo.rewards import load_answer_finder
from r2vpo.suites.baseline import answers_of, compare, find_baseline
from r2vpo.suites.folder import EvaluationFolder, open_folder
from r2vpo.suites.lm_eval import write_lm_eval
from r2vpo.suites.result import print_summary
from r2vpo.suites.run import check_evaluation, evaluate_subject
from r2vpo.suites.schema import EvaluationConfig
from r2vpo.suites.subject import Subject, find_subject
from r2vpo.suites.winning import load_decider


def run_evaluation(
    config: EvaluationConfig,
    subject: Subject,
    *,
    out: Path | None,
    console: Console,
    on_start: Callable[[Path], None] = lambda path: None,
) -> EvaluationFolder:
    """Evaluate a model, compare it with the baseline if there is one, write all files and print the result.

    Args:
        config: the requested evaluation.
        subject: the model.
        out: the folder, or None for a new one; an evaluation started there with the same settings is continued.
        console: where progress and the result are shown.
        on_start: called with the folder as soon as it exists, unless the evaluation is complete.

    Returns:
        The folder.

    Raises:
        UserError: anything that can be known to be wrong before the folder is made; later, a failure of the reward.
    """
    started = time.monotonic()
    rows = check_evaluation(config, console)
    config = config.model_copy(update={"problems": digest_of(rows), "fingerprint": fingerprint(subject.weights)})
    baseline = None if config.baseline is None else find_baseline(config.baseline, rows)
    decider = load_decider(config.win_by if baseline is not None else {"name": "score"})
    from r2vpo.suites.report import build_evaluation_report

    with ExitStack() as held:
        folder, ours = evaluate_subject(config, subject, rows, out=out, held=held, console=console, on_start=on_start)
        if baseline is not None:
            theirs = answers_of(baseline, config, folder.path, rows, held=held, console=console)
            found = compare(ours, theirs, decider, name=baseline.name, win_by=config.win_by)
            folder.write_summary({**folder.read_summary(), "baseline": found})
        votes = load_answer_finder(config.suite.reward.all_parts()[0].options()) is not None
        write_lm_eval(folder, ours, votes=votes, seconds=time.monotonic() - started)
        report = build_evaluation_report(folder)
        print_summary(console, folder.read_summary(), report)
    return folder


def resumed(path: Path | str) -> tuple[EvaluationConfig, Subject]:
    """Return what a resumed evaluation continues with: its original weights, even if its run has trained since.

    Args:
        path: the folder of the evaluation.

    Raises:
        UserError: it is not the folder of an evaluation.
    """
    config = open_folder(path).config()
    return config, replace(find_subject(config.model), weights=config.weights)

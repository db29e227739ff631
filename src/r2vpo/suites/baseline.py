"""The baseline of an evaluation, and the comparison with it: paired on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from r2vpo.data import PromptRow
from r2vpo.data.rows import Prompt
from r2vpo.errors import UserError
from r2vpo.evaluation import Answered, difference_interval, preference
from r2vpo.models import resolve_model
from r2vpo.models.folders import fingerprint
from r2vpo.suites.folder import EvaluationFolder, open_folder
from r2vpo.suites.run import evaluate_subject
from r2vpo.suites.schema import EvaluationConfig
from r2vpo.suites.subject import RECORDS, Subject, find_subject
from r2vpo.suites.winning import Decider


@dataclass(frozen=True)
class Baseline:
    """A model to evaluate on the same suite, or a complete evaluation.

    Attributes:
        name: what the user wrote.
        subject: the model; None if the baseline is an evaluation.
        folder: the folder of the evaluation; None if the baseline is a model.
    """

    name: str
    subject: Subject | None
    folder: EvaluationFolder | None


def find_baseline(name: str, rows: Sequence[PromptRow]) -> Baseline:
    """Resolve a baseline's name before work starts.

    Args:
        name: any name of a model, a run, or the folder of an evaluation.
        rows: the suite's problems.

    Raises:
        UserError: there is no such model, a run has no checkpoint, or an evaluation is not complete or has other
            problems.
    """
    if not (Path(name) / RECORDS).is_file():
        subject = find_subject(name)
        resolve_model(subject.base or subject.weights, seed=subject.seed)
        return Baseline(name, subject, None)
    folder = open_folder(name)
    folder.read_summary()
    theirs = folder.read()
    for number, (row, problem) in enumerate(zip(rows, theirs, strict=False)):
        if question(row.prompt) != question(problem.prompt):
            raise UserError(f"--baseline {name}: its problem {number + 1} is not the one in this suite: {_SAME}")
    if len(rows) != len(theirs):
        raise UserError(f"--baseline {name}: it has {len(theirs)} problems and this suite has {len(rows)}: {_SAME}")
    return Baseline(name, None, folder)


_SAME = "give an evaluation of the same suite, or the model itself, which is then evaluated"


def question(prompt: Prompt) -> str:
    """Return a key of a problem, the same whether it is asked as a text or as a chat."""
    return prompt if isinstance(prompt, str) else "\n\n".join(message["content"] for message in prompt)


def answers_of(
    baseline: Baseline,
    config: EvaluationConfig,
    out: Path,
    rows: Sequence[PromptRow],
    *,
    held: ExitStack,
    console: Console,
) -> list[Answered]:
    """Return the baseline's answers; the missing answers of a model are evaluated into `out / "baseline"`.

    Args:
        baseline: from `find_baseline`.
        config: the configuration of the evaluation that is compared with it.
        out: the folder of that evaluation.
        rows: the suite's problems.
        held: receives the lock of the folder.
        console: where progress is shown.
    """
    if baseline.folder is not None:
        return baseline.folder.read()
    assert baseline.subject is not None
    changes: dict[str, Any] = {
        "model": baseline.name,
        "weights": baseline.subject.weights,
        "fingerprint": fingerprint(baseline.subject.weights),
        "baseline": None,
    }
    own = config.model_copy(update=changes)
    return evaluate_subject(own, baseline.subject, rows, out=out / "baseline", held=held, console=console)[1]


def compare(
    ours: Sequence[Answered], theirs: Sequence[Answered], decider: Decider, *, name: str, win_by: dict[str, Any]
) -> dict[str, Any]:
    """Compare the greedy completions of two models problem by problem.

    Args:
        ours: the answers of the model that is evaluated.
        theirs: the baseline's answers to the same problems.
        decider: decides which of two completions is better.
        name: name of the baseline.
        win_by: the settings that the decider was made from.

    Returns:
        The value of `baseline` in `summary.json`.

    Raises:
        UserError: the two models have answered different problems.
    """
    if [question(one.prompt) for one in ours] != [question(one.prompt) for one in theirs]:
        raise UserError(
            f"--baseline {name}: its problems are not the same, since its tokenizer leaves other prompts out: raise "
            "data.max_prompt_tokens"
        )
    outcomes, more = decider(ours, theirs)
    before, after = ([one.greedy.correct for one in problems] for problems in (theirs, ours))
    return {
        "model": name,
        "win_by": ", ".join(str(win_by[key]) for key in ("name", "model") if key in win_by),
        **preference(outcomes).to_json(),
        **more,
        "accuracy": sum(before) / len(before),
        "accuracy_gain": difference_interval(before, after).to_json(),
        "outcomes": outcomes,
    }

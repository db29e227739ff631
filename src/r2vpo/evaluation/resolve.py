"""Find and check all that an evaluation needs, before its folder is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from r2vpo.config.display import say
from r2vpo.config.run_directory import COMPLETIONS
from r2vpo.data import PromptRow, load_held_out
from r2vpo.data.prompt_format import as_chats
from r2vpo.data.rows import digest_of
from r2vpo.errors import UserError
from r2vpo.evaluation.completions import AnswerFinder, question
from r2vpo.evaluation.folder import EvaluationFolder, open_folder
from r2vpo.evaluation.schema import EvaluationConfig, Suite
from r2vpo.evaluation.subject import Subject, find_subject
from r2vpo.evaluation.winning import Decider, load_decider
from r2vpo.models import load_tokenizer
from r2vpo.models.folders import fingerprint
from r2vpo.rewards import check_reward, load_answer_finder, load_reward, usable_rows
from r2vpo.trl.guards import guard_reward

_SAME = "give an evaluation of the same suite, or the model itself, which is then evaluated"


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation needs.

    Attributes:
        config: what was requested, with the digests of problems and weights.
        subject: the model.
        rows: the suite's problems, without those whose answer the reward cannot use.
        reward: grades completions; a failure names it.
        find_answer: finds the answers that votes are counted over; None if the reward has none.
        baseline: what it is compared with.
    """

    config: EvaluationConfig
    subject: Subject
    rows: list[PromptRow]
    reward: Callable[..., Any]
    find_answer: AnswerFinder | None
    baseline: Baseline | None = None

    @property
    def votes(self) -> bool:
        """Whether a majority of the answers can be counted."""
        return self.find_answer is not None


@dataclass(frozen=True)
class Baseline:
    """Another model on the same problems, and the rule that decides which of two completions is better.

    Attributes:
        name: what the user wrote.
        source: the evaluation of that model, or the folder of one that is complete.
        decide: the rule.
    """

    name: str
    source: Evaluation | EvaluationFolder
    decide: Decider


def resolve(config: EvaluationConfig, subject: Subject, console: Console) -> Evaluation:
    """Find and check problems, reward and baseline.

    Args:
        config: what was requested.
        subject: the model, which is loaded later.
        console: where the problems that are left out are reported.

    Raises:
        UserError: the problems cannot be read, the reward does not fit them, or the baseline cannot be used.
    """
    suite = config.suite
    rows = load_held_out(suite.data, seed=suite.seed)
    options = suite.reward.all_parts()[0].options()
    reward = load_reward(options)
    rows, note = usable_rows(reward, rows)
    if note is not None:
        say(console, f"note: {note}")
    _check_reward(reward, rows, suite)
    config = config.model_copy(update={"problems": digest_of(rows), "fingerprint": fingerprint(subject.weights)})
    found = Evaluation(config, subject, rows, guard_reward(reward), load_answer_finder(options))
    return found if config.baseline is None else replace(found, baseline=_baseline(found, config.baseline))


def _check_reward(reward: Callable[..., Any], rows: list[PromptRow], suite: Suite) -> None:
    """Try the reward in the form that the completions will have; with `auto` only the model's tokenizer knows it."""
    try:
        check_reward(reward, rows)
    except UserError:
        if suite.format == "text" or as_chats(rows) == rows:
            raise
        with suppress(UserError):
            check_reward(reward, as_chats(rows))
            return
        raise


def _baseline(ours: Evaluation, name: str) -> Baseline:
    is_folder = (Path(name) / COMPLETIONS).is_file()
    source = _complete_folder(name, ours.rows) if is_folder else _other_model(ours, name)
    return Baseline(name, source, load_decider(ours.config.win_by))


def _other_model(ours: Evaluation, name: str) -> Evaluation:
    subject = find_subject(name)
    # Before hours are spent on the other model; a hub name is only resolved when something is read from it.
    load_tokenizer(subject.base or subject.weights, seed=subject.seed, trust_remote_code=subject.trust_remote_code)
    changes: dict[str, Any] = {
        "model": name,
        "weights": subject.weights,
        "fingerprint": fingerprint(subject.weights),
        "baseline": None,
    }
    return replace(ours, config=ours.config.model_copy(update=changes), subject=subject)


def _complete_folder(name: str, rows: list[PromptRow]) -> EvaluationFolder:
    folder = open_folder(name)
    theirs = folder.read()
    folder.read_summary()
    for number, (row, problem) in enumerate(zip(rows, theirs, strict=False)):
        if question(row.prompt) != problem.question:
            raise UserError(f"--baseline {name}: its problem {number + 1} is not the one in this suite: {_SAME}")
    if len(rows) != len(theirs):
        raise UserError(f"--baseline {name}: it has {len(theirs)} problems and this suite has {len(rows)}: {_SAME}")
    return folder

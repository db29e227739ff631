"""Run one evaluation from its settings to its result; whole batches are kept, and a stopped run resumes after them."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from r2vpo.config.display import say
from r2vpo.config.folder_lock import is_empty, working_in
from r2vpo.data import PromptRow
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.errors import UserError
from r2vpo.evaluation import Answered, answer_problems, lengths, measure, measure_by_difficulty
from r2vpo.rewards import usable_rows
from r2vpo.sampling import check_model, make_sampler
from r2vpo.suites.folder import EvaluationFolder, existing_folder, make_folder, new_place
from r2vpo.suites.problems import load_grader, load_problems, prompts_for
from r2vpo.suites.progress import SuiteProgress
from r2vpo.suites.schema import EvaluationConfig, Suite
from r2vpo.suites.subject import Subject, load_subject
from r2vpo.trl.guards import guard_reward

_PACKAGES = ("r2vpo", "torch", "transformers", "peft", "datasets", "reasoning-gym", "math-verify")

_INSTEAD = "name another --out"


def check_evaluation(config: EvaluationConfig, console: Console) -> list[PromptRow]:
    """Find problems with a suite's data and reward before a folder is made.

    Args:
        config: the requested evaluation.
        console: where the problems that are left out are reported.

    Returns:
        The suite's problems, without those whose answer the reward cannot use.

    Raises:
        UserError: the problems cannot be read, or the reward does not fit them.
    """
    rows = load_problems(config.suite)
    reward, _ = load_grader(config.suite, rows)
    rows, note = usable_rows(reward, rows)
    if note is not None:
        say(console, f"note: {note}")
    return rows


def evaluate_subject(
    config: EvaluationConfig,
    subject: Subject,
    rows: Sequence[PromptRow],
    *,
    out: Path | None,
    held: ExitStack,
    console: Console,
    on_start: Callable[[Path], None] = lambda path: None,
) -> tuple[EvaluationFolder, list[Answered]]:
    """Answer the problems that are still open, and write the summary.

    The problems are answered in batches that are always the same, and each problem's samples have their own seed, so
    that an evaluation that was stopped and continued gives the same result as one that was not.

    Args:
        config: the requested evaluation.
        subject: the model.
        rows: the suite's problems.
        out: the folder; an evaluation in it is continued, and None makes a new folder.
        held: receives the folder's lock, and releases it when the caller is finished with the folder.
        console: where progress is shown.
        on_start: called with the folder as soon as it exists.

    Returns:
        The folder, and all problems with their completions.

    Raises:
        UserError: the model cannot be loaded or cannot be given the prompts, before a folder is made; or the reward
            fails; or another process is using the folder.
    """
    is_held = out is not None and out.is_dir()
    if out is not None and is_held:
        held.enter_context(working_in(out, instead=_INSTEAD))
    folder = existing_folder(config, out)
    if folder is not None and folder.is_complete():
        return folder, folder.read()
    suite = config.suite
    reward, find_answer = load_grader(suite, rows)
    model, tokenizer, ends = load_subject(subject, device=config.device, dtype=config.dtype, stop=suite.sampling.stop)
    rows = prompts_for(rows, suite, tokenizer, model)
    sampler = _sampler(model, tokenizer, ends, suite, rows, name=subject.name)
    if folder is None:
        place = new_place(config, out, subject.label)
        if not is_held:
            held.enter_context(working_in(place, instead=_INSTEAD))
            if not is_empty(place):
                raise UserError(f"{place}: another evaluation began here meanwhile: give the same command again")
        folder = make_folder(config, place)
    on_start(folder.path)
    say(console, f"evaluation {folder.path}")
    done = folder.whole_batches([row.prompt for row in rows], suite.problems_per_batch())
    solved = sum(problem.greedy.correct for problem in done)
    what = f"{suite.name}, {subject.label}"
    with SuiteProgress(len(rows), len(done), solved, console=console, what=what) as progress:
        for start in range(len(done), len(rows), suite.problems_per_batch()):
            batch = answer_problems(
                sampler,
                tokenizer,
                rows[start : start + suite.problems_per_batch()],
                guard_reward(reward),
                samples=suite.sampling.k,
                seed=config.seed,
                find_answer=find_answer,
                first=start,
            )
            folder.append(batch)
            done += batch
            progress.advance(len(batch), sum(problem.greedy.correct for problem in batch))
    folder.write_summary(summarise(config, done, votes=find_answer is not None))
    return folder, done


def summarise(config: EvaluationConfig, problems: Sequence[Answered], *, votes: bool) -> dict[str, Any]:
    """Return the content of `summary.json` without a comparison.

    Args:
        config: the requested evaluation.
        problems: all problems.
        votes: whether the reward finds answers whose majority can be counted.
    """
    samples = [attempt for problem in problems for attempt in problem.samples]
    return {
        "suite": config.suite.name,
        "model": config.model,
        "weights": config.weights,
        "seed": config.seed,
        "k": config.suite.sampling.k,
        "temperature": config.suite.sampling.temperature,
        "problems": len(problems),
        **measure(problems, votes=votes).to_json(),
        "by_difficulty": {
            label: found.to_json() for label, found in measure_by_difficulty(problems, votes=votes).items()
        },
        "lengths": {
            "greedy": lengths([problem.greedy for problem in problems]).to_json(),
            "sampled": lengths(samples).to_json() if samples else None,
        },
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        },
    }


def _sampler(
    model: Any, tokenizer: Any, ends: Sequence[int], suite: Suite, rows: Sequence[PromptRow], *, name: str
) -> Any:
    """Return the fastest sampler that is correct for the model and its prompts."""
    longest = max(len(encode_prompt(tokenizer, row.prompt)) for row in rows) + suite.sampling.max_new_tokens
    check = check_model(model, pad_token_id=tokenizer.pad_token_id, longest=longest, shared=False)
    if check.sampler is None:
        raise UserError(f"{name}: {check.refusal}")
    for note in check.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return make_sampler(
        check.sampler,
        model,
        eos_token_ids=ends,
        pad_token_id=tokenizer.pad_token_id,
        temperature=suite.sampling.temperature,
        max_new_tokens=suite.sampling.max_new_tokens,
        rows_per_batch=suite.sampling.batch,
        entropy=True,
    )

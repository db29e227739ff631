"""Run an evaluation: answer, compare, write the files. Whole batches are kept, and a stopped one resumes after them."""

from __future__ import annotations

import json
import shlex
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from r2vpo.config.folder_lock import is_empty, working_in
from r2vpo.data import PromptRow
from r2vpo.data.prompt_format import answer_end
from r2vpo.errors import UserError
from r2vpo.evaluation.completions import Answered, Sampler, evaluate
from r2vpo.evaluation.folder import EvaluationFolder, existing_folder, make_folder, new_place
from r2vpo.evaluation.lm_eval import write_lm_eval
from r2vpo.evaluation.progress import ANSWERING, EvaluationProgress
from r2vpo.evaluation.prompts import prompts_for, suitable_sampler
from r2vpo.evaluation.resolve import Evaluation
from r2vpo.evaluation.result import summarise
from r2vpo.evaluation.subject import load_subject, stops_of_training
from r2vpo.evaluation.winning import compare
from r2vpo.sampling import make_sampler
from r2vpo.threads import Threads, model_work, use_fastest, use_number

_INSTEAD = "name another --out"


def run_evaluation(
    evaluation: Evaluation,
    *,
    out: Path | None,
    display: EvaluationProgress,
    on_start: Callable[[Path], None] = lambda path: None,
) -> EvaluationFolder:
    """Evaluate a model, compare it with the baseline if there is one, and write the files of the result.

    Args:
        evaluation: what `resolve` found.
        out: the folder, or None for a new one; an evaluation started there with the same settings is continued.
        display: where progress is shown.
        on_start: called with the folder as soon as it exists, unless the evaluation is complete.

    Returns:
        The folder.

    Raises:
        UserError: the model cannot be loaded or cannot be given the prompts, before the folder is made; or the reward
            fails; or another process is using the folder.
    """
    started = time.monotonic()
    with ExitStack() as held:
        folder, ours = _answer(evaluation, out, held=held, display=display, on_start=on_start)
        if (baseline := evaluation.baseline) is not None:
            if isinstance(baseline.source, EvaluationFolder):
                theirs = baseline.source.read()
            else:
                place, threads = folder.path / "baseline", folder.config().threads
                theirs = _answer(baseline.source, place, held=held, display=display, threads=threads)[1]
            found = compare(ours, theirs, baseline.decide, name=baseline.name, win_by=evaluation.config.win_by)
            folder.write_summary({**folder.read_summary(), "baseline": found})
        write_lm_eval(folder, ours, votes=evaluation.votes, seconds=time.monotonic() - started)
    return folder


def _answer(
    evaluation: Evaluation,
    out: Path | None,
    *,
    held: ExitStack,
    display: EvaluationProgress,
    on_start: Callable[[Path], None] = lambda path: None,
    threads: int | None = None,
) -> tuple[EvaluationFolder, list[Answered]]:
    """Answer the problems that are still open, and write the summary.

    The problems are answered in batches that are always the same, and each problem's samples have their own seed, so
    that an evaluation that was stopped and continued gives the same result as one that was not. `held` receives the
    folder's lock; `threads` are those of the evaluation that this one is the baseline of.
    """
    config, suite = evaluation.config, evaluation.config.suite
    is_held = out is not None and out.is_dir()
    if out is not None and is_held:
        held.enter_context(working_in(out, instead=_INSTEAD))
    folder = existing_folder(config, out)
    if folder is not None and folder.is_complete():
        return folder, folder.read()
    sampler, tokenizer, rows, notes, chosen = _load(
        evaluation, display, threads=threads if folder is None else folder.config().threads, choose=folder is None
    )
    if folder is None:
        config = config.model_copy(update={"threads": chosen and chosen.number})
        place = new_place(config, out, evaluation.subject.label)
        if not is_held:
            held.enter_context(working_in(place, instead=_INSTEAD))
            if not is_empty(place):
                raise UserError(f"{place}: another evaluation began here meanwhile: give the same command again")
        folder = make_folder(config, place)
    on_start(folder.path)
    notes = [f"note: {note}" for note in notes]
    for line in (f"evaluation {folder.path}", *notes, *([] if chosen is None else [chosen.described()])):
        display.say(line)
    size = suite.problems_per_batch()
    done = folder.whole_batches([row.prompt for row in rows], size)
    display.begin(len(rows), done, what=f"{suite.name}, {evaluation.subject.label}")
    for start in range(len(done), len(rows), size):
        batch = evaluate(
            sampler,
            tokenizer,
            rows[start : start + size],
            evaluation.reward,
            samples=suite.sampling.k,
            seed=config.seed,
            find_answer=evaluation.find_answer,
            first=start,
        )
        folder.append(batch)
        done += batch
        display.advance(batch)
    folder.write_summary(summarise(config, done, votes=evaluation.votes))
    return folder, done


def _load(
    evaluation: Evaluation, display: EvaluationProgress, *, threads: int | None, choose: bool
) -> tuple[Sampler, Any, list[PromptRow], list[str], Threads | None]:
    """Load what answers the problems.

    Args:
        evaluation: what `resolve` found.
        display: where progress is shown.
        threads: number of CPU threads, which an evaluation that is continued has had before.
        choose: whether to use the fastest number if none is given.

    Returns:
        A sampler of the model, its tokenizer, the problems with their prompts as it is given them, notes on prompts
        and completions, and the CPU threads if they were chosen or given.
    """
    config, subject = evaluation.config, evaluation.subject
    sampling = config.suite.sampling
    display.status(f"loading {subject.name}")
    model, tokenizer, ends = load_subject(subject, device=config.device, dtype=config.dtype, stop=sampling.stop)
    chosen = None
    if threads is not None:
        chosen = use_number(threads, "as the evaluation was started with")
    elif choose and config.device == "cpu":
        chosen = use_fastest(model_work(model, rows=sampling.batch))
    rows, form = prompts_for(evaluation.rows, config.suite, tokenizer, model, ends)
    end = answer_end(tokenizer) if form.is_chat else None
    ends = [*ends, end] if end is not None and end not in ends else ends
    notes = [form.note]
    if stops := stops_of_training(subject, tokenizer, ends):
        setting = shlex.quote(f"sampling.stop={json.dumps([*sampling.stop, *stops])}")
        notes.append(
            f"completions ended at {', '.join(map(repr, stops))} in the run's training, and do not end there in this "
            f"suite: --set {setting} changes that"
        )
    limits: dict[str, int] = {"pad_token_id": tokenizer.pad_token_id, "max_new_tokens": sampling.max_new_tokens}
    name, warned = suitable_sampler(model, tokenizer, rows, what=subject.name, **limits)
    for note in warned:
        warnings.warn(note, UserWarning, stacklevel=2)
    sampler = make_sampler(
        name,
        model,
        eos_token_ids=ends,
        temperature=sampling.temperature,
        rows_per_batch=sampling.batch,
        entropy=True,
        progress=partial(display.sampled, ANSWERING),
        **limits,
    )
    return sampler, tokenizer, rows, notes, chosen

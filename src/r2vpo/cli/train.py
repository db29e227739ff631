"""``r2vpo train``: read the recipe, start or resume the run, show the result."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from rich.console import Console

from r2vpo.cli.failures import Session
from r2vpo.cli.launch import launch_arguments, planned
from r2vpo.cli.next_steps import next_steps
from r2vpo.config.display import say
from r2vpo.config.recipe import Recipe, differing_keys, format_of, load_recipe, settle_format, settle_precision
from r2vpo.config.resumption import refuse_finished, require_checkpoint
from r2vpo.config.run_directory import open_run, step_of
from r2vpo.environment import RANK
from r2vpo.errors import UserError
from r2vpo.training.progress import TrainingProgress, print_result

# Settings that may change when a run is resumed: it can be made longer, use other threads, and show other samples.
MAY_DIFFER = {"trainer.max_steps", "trainer.threads", "evaluation.samples_shown"}


def train(arguments: argparse.Namespace, session: Session) -> None:
    """Run or resume a training; problems with the recipe or the run are reported before torch is imported."""
    overrides = [*arguments.overrides, *collecting(arguments.store)]
    session.arguments = [
        *([arguments.recipe] if arguments.recipe else []),
        *(part for text in overrides for part in ("--set", text)),
        *launch_arguments(arguments),
    ]
    resume = Path(arguments.resume) if arguments.resume else None
    if resume is not None:
        open_run(resume)
        session.started(resume)
    if arguments.recipe is None and resume is None:
        swallowed = [text for text in arguments.overrides if "=" not in text]
        if swallowed:
            raise UserError(f"train: no recipe given: put {swallowed[-1]} before --set")
        raise UserError("train: no recipe given: name one, such as quickstart (`r2vpo recipes` lists them)")
    recipe = load_recipe(arguments.recipe or open_run(str(resume)).config, overrides)
    if resume is not None:
        recipe = as_started(recipe, resume)
        check_resume(recipe, resume, arguments.checkpoint, session.arguments)
    elif arguments.checkpoint is not None:
        raise UserError("train: --checkpoint says where --resume starts: add --resume RUN")
    launch = None if session.launched else planned(arguments, recipe)
    if launch is not None and not launch.in_this_process:
        from r2vpo.cli.processes import run_processes

        loud = arguments.debug or arguments.log_level in {"debug", "info"}
        run_processes(launch, session.command, program=session.program, debug=loud)
        return
    if launch is not None:
        os.environ.update(launch.environment())
    is_main = os.environ.get(RANK.name, RANK.default) == "0"
    console = Console(quiet=not is_main)
    with TrainingProgress(recipe.trainer.max_steps, console=console) as display, session.showing(display):
        with session.loading(display):
            from r2vpo.training.run import run_training

        if not arguments.debug:
            quiet_bars()
        run = run_training(
            recipe,
            resume=resume,
            checkpoint=arguments.checkpoint,
            display=display,
            runs_dir=Path(arguments.runs_dir),
            on_start=session.started,
        )
        if is_main:
            display.status("writing the model")
            write_final_model(run, display)
    if is_main:
        show_result(run, console, session.program)


def collecting(store: str | None) -> list[str]:
    """Return the settings that `--store` stands for."""
    return [] if store is None else [f"replay.store={json.dumps(store)}", "replay.collect=true"]


def quiet_bars() -> None:
    """Hide transformers' bars for loading and saving; a download still shows its own."""
    import transformers
    from huggingface_hub.utils import enable_progress_bars  # type: ignore[attr-defined]  # documented there

    transformers.utils.logging.disable_progress_bar()
    enable_progress_bars()


def as_started(recipe: Recipe, run_path: Path) -> Recipe:
    """Return the recipe with what the run was started with wherever it leaves that open."""
    started_with = open_run(run_path).recipe()
    if recipe.trainer.threads is None:
        trainer = recipe.trainer.model_copy(update={"threads": started_with.trainer.threads})
        recipe = recipe.model_copy(update={"trainer": trainer})
    # A run stores its recipe after all settings are resolved, so nothing in it is `auto`.
    autocast = cast(bool, started_with.trainer.bf16_autocast)
    dtype = cast(Literal["bfloat16", "model"], started_with.rollout.dtype)
    recipe = settle_precision(recipe, autocast=autocast, dtype=dtype)
    return settle_format(recipe, format_of(started_with))


def check_resume(recipe: Recipe, run_path: Path, checkpoint: int | None, arguments: Sequence[str]) -> None:
    """Refuse to resume with a recipe other than the run's, from a damaged checkpoint, or a run that is complete.

    Args:
        recipe: the requested recipe.
        run_path: the folder of the run.
        checkpoint: step of the checkpoint to resume from; None for the last one.
        arguments: arguments of the command, for the command that resumes from an earlier checkpoint.

    Raises:
        UserError: the recipes differ, the run has no such checkpoint, it is damaged, or it has done all its steps.
    """
    run = open_run(run_path)
    started_with = run.recipe()
    different = [key for key in differing_keys(recipe, started_with) if key not in MAY_DIFFER]
    if different:
        shown = ", ".join(different[:6]) + (f" and {len(different) - 6} more" if len(different) > 6 else "")
        verb = "differs" if len(different) == 1 else "differ"
        raise UserError(
            f"{run.path}: this run was started with another recipe, {shown} {verb}: "
            f"give the same recipe and --set, or start a new run without --resume"
        )
    step = step_of(require_checkpoint(run.path, checkpoint, arguments=arguments))
    refuse_finished(run, step, recipe.trainer.max_steps)


def write_final_model(run_path: Path, display: TrainingProgress) -> None:
    """Write `model/` from the last checkpoint; the run has its result by now, so a failure is only reported."""
    from r2vpo.export.build import Source, write_model
    from r2vpo.weights import first_line

    run = open_run(run_path)
    checkpoint = run.latest_checkpoint()
    if checkpoint is None:
        return
    try:
        write_model(Source(run, run.recipe(), checkpoint), run.model)
    except Exception as error:  # also of a library, which may not read its own tokenizer back
        display.say(f"note: {run.model} was not written: {first_line(error)}")


def show_result(run_path: Path, console: Console, program: str) -> None:
    """Build the report and print the result.

    Args:
        run_path: the folder of a finished run.
        console: where to print.
        program: how this program was called.

    Raises:
        UserError: the run is complete and has learned nothing because no round had a signal.
    """
    from r2vpo.report.build import build_report

    report, run = build_report(run_path), open_run(run_path)
    summary = run.read_summary() or {}
    print_result(console, summary, report)
    for name, value in next_steps(run, program):
        say(console, f"{name:<16} {value}")
    rounds = len({record.get("round") for record in run.read_metrics()})
    if rounds and summary.get("rounds_without_signal") == rounds:
        which = "its only round had no signal" if rounds == 1 else f"none of its {rounds} rounds had a signal"
        # A critic and weight decay move weights also without a signal.
        same = summary.get("weights_changed") is False
        result = "the weights are those it began with" if same else "the rewards have taught it nothing"
        raise UserError(
            f"{run.path}: {which}, so {result}: in every "
            "group all rewards were equal. Look at the completions in the report, and check the reward, the length of "
            "completions and how hard the problems are"
        )
    if summary.get("weights_changed") is False:
        raise UserError(
            f"{run.path}: no step has changed the weights: trainer.learning_rate, trainer.max_grad_norm or the bounds "
            "of step_control are too small, or no reward differed within a group; raise them"
        )

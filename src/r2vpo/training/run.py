"""Execute one run from its recipe to its summary: evaluate, train, evaluate."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import psutil
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from r2vpo.config.folder_lock import working_in
from r2vpo.config.recipe import Recipe, format_of, settle_format, settle_precision
from r2vpo.config.resumption import refuse_finished, require_checkpoint
from r2vpo.config.run_directory import STORE_COUNTERS, RunDirectory, create_run, open_run, step_of
from r2vpo.config.run_events import append_event
from r2vpo.data import PromptData
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_tokens import longest_prompt
from r2vpo.errors import UserError
from r2vpo.intervals import difference_interval
from r2vpo.threads import usable_cores
from r2vpo.training.devices import unused_gpus
from r2vpo.training.evaluator import Evaluator, data_digests
from r2vpo.training.metrics_log import MetricsLog
from r2vpo.training.nothing_left import NothingLeft
from r2vpo.training.progress import TrainingProgress
from r2vpo.training.sample import describe_sample
from r2vpo.training.setup import Parts, prepare, trainer_config
from r2vpo.training.threads import ThreadsWatch, alone_on_cpu, settle_threads, work_of
from r2vpo.training.trackers import name_run
from r2vpo.training.trainer import build_trainer
from r2vpo.training.unchanged import WeightsBefore
from r2vpo.trl import R2VPOConfig, R2VPOTrainer
from r2vpo.trl.model_paths import weights_divided_by
from r2vpo.trl.sampled import SampledGroup

if TYPE_CHECKING:
    from r2vpo.training.pairs import PairsTrainer
    from r2vpo.trl import R2VPODPOConfig

_PACKAGES = ("r2vpo", "torch", "transformers", "trl", "accelerate", "peft", "datasets")
_FLOAT32 = "this device has no bfloat16 units, and bfloat16 would take several times as long: computing in float32"


def run_training(
    recipe: Recipe,
    *,
    resume: Path | None,
    checkpoint: int | None = None,
    display: TrainingProgress,
    runs_dir: Path = Path("runs"),
    on_start: Callable[[Path], None] = lambda path: None,
) -> Path:
    """Train according to a recipe.

    Args:
        recipe: the recipe.
        resume: a run to resume, or None for a new one.
        checkpoint: step of the checkpoint to resume from; None takes the last one.
        display: where progress is shown.
        runs_dir: where a new run's folder is made.
        on_start: called with the run's folder as soon as it exists.

    Returns:
        The run's folder, with `summary.json` written.

    Raises:
        UserError: the input cannot be used; raised before a new folder is made whenever possible.
    """
    # Before the model is loaded: FSDP and ZeRO-3 shard the weights while reading them only if they are already set up.
    config, dtype = _config(recipe, runs_dir / "checked")
    left_to_the_device = recipe.trainer.bf16_autocast == "auto"
    with ExitStack() as held:
        if resume is not None:
            held.enter_context(_alone(resume))
            if PartialState().is_main_process:
                step = step_of(require_checkpoint(resume, checkpoint))
                refuse_finished(
                    open_run(resume), step, recipe.trainer.max_steps
                )  # another process may have finished it
                open_run(resume).check_records(step)
            recipe = settle_format(recipe, format_of(open_run(resume).recipe()))
        recipe = settle_precision(recipe, autocast=config.bf16, dtype=dtype)
        parts = prepare(recipe, loading=display.status)
        if parts.form is not None:
            recipe = settle_format(recipe, parts.form.format)
        threads = None
        if resume is None or recipe.trainer.threads is not None:  # a resumed run keeps its number, also torch's own
            recipe, threads = settle_threads(recipe, parts.model, autocast=bool(config.bf16))
        if resume is not None and PartialState().is_main_process:
            _check_data(open_run(resume), parts.data)
        run = _folder(recipe, resume, runs_dir)
        if resume is None:
            held.enter_context(_alone(run.path))
        on_start(run.path)
        config.output_dir = str(run.checkpoints)
        form = [] if parts.form is None else [parts.form.note]
        gpus = unused_gpus(on_cpu=bool(config.use_cpu))
        notes = [*form, *parts.data.notes, *([_FLOAT32] if left_to_the_device and not config.bf16 else [])]
        notes += [] if gpus is None else [gpus]
        start = None if resume is None else run.checkpoint(checkpoint)
        _train(recipe, config, parts, run, checkpoint=start, notes=notes, threads=threads, display=display)
    return run.path


def _config(recipe: Recipe, checked: Path) -> tuple[R2VPOConfig | R2VPODPOConfig, Literal["bfloat16", "model"]]:
    """Return the configuration of the recipe's trainer, and `rollout.dtype` with "auto" resolved."""
    if recipe.trainer.kind == "dpo":
        from r2vpo.training.pairs import pairs_config

        return pairs_config(recipe, checked), "model"  # the policy itself samples
    config = trainer_config(recipe, checked)
    return config, cast(Literal["bfloat16", "model"], config.rollout.dtype)


def _trainer(
    recipe: Recipe, config: R2VPOConfig | R2VPODPOConfig, parts: Parts, *, name: str
) -> R2VPOTrainer | PairsTrainer:
    if isinstance(config, R2VPOConfig):
        return build_trainer(recipe, config, parts, name=name)
    from r2vpo.training.build_pairs import build_pairs_trainer

    return build_pairs_trainer(recipe, config, parts)


def _train(
    recipe: Recipe,
    config: R2VPOConfig | R2VPODPOConfig,
    parts: Parts,
    run: RunDirectory,
    *,
    checkpoint: Path | None,
    notes: list[str],
    threads: str | None,
    display: TrainingProgress,
) -> None:
    if checkpoint is not None and PartialState().is_main_process:
        run.rewind(step_of(checkpoint))
        run.write_config(recipe)
    name_run(config, run)
    if isinstance(config, R2VPOConfig) and config.use_vllm:
        # Otherwise its engine on the training devices needs room for the longest text that the model can read.
        config.vllm_max_model_length = longest_prompt(parts.data, parts.tokenizer) + recipe.rollout.max_new_tokens
    display.status(f"checking {recipe.model.name}")
    trainer = _trainer(recipe, config, parts, name=run.path.name)
    steps_done = step_of(checkpoint) if checkpoint is not None else 0
    display.resumed(steps_done, run.read_evaluations())
    evaluator = Evaluator(recipe=recipe, parts=parts, trainer=trainer, run=run, display=display)
    is_main = PartialState().is_main_process
    if is_main:
        display.changed = lambda: run.write_status(display.snapshot())
        trainer.on_phase, trainer.on_sampled = display.status, partial(display.sampled, "generating")
        trainer.add_callback(MetricsLog(run, display, lists=lambda: trainer.step_lists))
        if 1 < torch.get_num_threads() <= usable_cores() and alone_on_cpu(recipe):
            work = work_of(recipe, parts.model, autocast=bool(config.bf16))
            trainer.add_callback(ThreadsWatch(work, lambda line: display.say(f"warning: {line}")))
        if isinstance(trainer, R2VPOTrainer):
            trainer.signal_watch.say = lambda line: _warn(run, display, line, step=trainer.state.global_step)
        if checkpoint is None and isinstance(trainer, R2VPOTrainer):
            trainer.show_sample = partial(_show_sample, display, trainer, recipe.rollout.max_new_tokens)
    trainer.add_callback(evaluator)
    trainer.add_callback(_StopBeforeMore())
    started = time.monotonic()
    if is_main:
        kind = "started" if checkpoint is None else "resumed"
        append_event(run.path, kind, f"r2vpo {version('r2vpo')}", step=steps_done)
        described = [parts.data.described()] if isinstance(recipe.data, DatasetOptions) or recipe.is_offline else []
        for line in (f"run {run.path}", *described, *([] if threads is None else [threads])):
            display.say(line)
        for note in notes:
            display.say(f"note: {note}")
            append_event(run.path, "note", note, step=steps_done)
    if checkpoint is None:
        evaluator.evaluate()
    whole = weights_divided_by(trainer) is None
    weights = WeightsBefore(trainer.model) if whole and is_main and checkpoint is None else None
    display.status("training" if checkpoint is None else f"loading {checkpoint.name}")
    _steps(trainer, checkpoint, run, display)
    evaluator.evaluate()
    if is_main:
        changed = weights is None or weights.changed()
        seconds = time.monotonic() - started
        _finish(run, recipe, parts.data, trainer, seconds, changed=changed, threads=threads)
    PartialState().wait_for_everyone()


def _steps(
    trainer: R2VPOTrainer | PairsTrainer, checkpoint: Path | None, run: RunDirectory, display: TrainingProgress
) -> None:
    """Train; where nothing is left to train on, the model as it is becomes the last checkpoint."""
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    except NothingLeft as reason:
        if str(reason):
            trainer._save_checkpoint(trainer.model, trial=None)
            _warn(run, display, str(reason), step=trainer.state.global_step)


def _show_sample(display: TrainingProgress, trainer: R2VPOTrainer, longest: int, sampled: SampledGroup) -> None:
    for line in describe_sample(sampled, trainer.processing_class, ends=trainer.eos_token_ids, longest=longest):
        display.say(line)


def _warn(run: RunDirectory, display: TrainingProgress, line: str, *, step: int) -> None:
    display.say(f"warning: {line}")
    append_event(run.path, "warning", line, step=step)


class _StopBeforeMore(TrainerCallback):
    """End a resumed run that was stopped after its last checkpoint; the training loop would add a step to it."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End training before its first step if the loaded checkpoint is already the last one."""
        if state.global_step >= args.max_steps:
            raise NothingLeft


def _alone(run: Path) -> AbstractContextManager[None]:
    """Lock the run's folder, in the main process."""
    if not PartialState().is_main_process:
        return nullcontext()
    return working_in(run, instead="start a new run without --resume")


def _check_data(run: RunDirectory, data: PromptData) -> None:
    """Refuse to resume on other problems, since accuracy before and after would not be comparable."""
    first = next(iter(run.read_evaluations()), {}).get("data")
    now = data_digests(data)
    for name, words in (("train", "the training problems"), ("held_out", "the held-out problems")):
        if first is not None and first.get(name) != now[name]:
            raise UserError(
                f"{run.path}: {words} are not those that the run was started with: restore the files that data names, "
                "or start a new run without --resume"
            )


def _folder(recipe: Recipe, resume: Path | None, runs_dir: Path) -> RunDirectory:
    """Return the run's folder, created by the main process if it is new."""
    if resume is not None:
        return open_run(resume)
    path = [str(create_run(recipe, runs_dir).path) if PartialState().is_main_process else None]
    if PartialState().num_processes > 1:
        broadcast_object_list(path)
    assert path[0] is not None, "the main process has sent its path"
    return RunDirectory(Path(path[0]))


def _finish(
    run: RunDirectory,
    recipe: Recipe,
    data: PromptData,
    trainer: R2VPOTrainer | PairsTrainer,
    session_seconds: float,
    *,
    changed: bool,
    threads: str | None,
) -> None:
    """Write the summary from the records."""
    evaluations = run.read_evaluations()
    before = next((record for record in evaluations if record["step"] == 0), None)
    last = evaluations[-1]
    evaluating = sum(record.get("seconds_evaluating") or 0.0 for record in evaluations)
    # A resumed run includes the training time of its earlier sessions, which the checkpoint holds.
    wall = max(session_seconds, evaluating + sum(trainer.seconds.values()))
    run.write_summary(
        {
            "accuracy_before": before and before["accuracy"],
            "accuracy_after": last["accuracy"],
            "accuracy_gain": difference_interval(before["correct"], last["correct"]).to_json() if before else None,
            "accuracy_by_difficulty": {
                name: {"before": before and before["by_difficulty"].get(name), "after": interval}
                for name, interval in last["by_difficulty"].items()
            },
            "problems": {
                "train": len(data.train),
                "held_out": len(data.held_out),
                "left_out": data.left_out,
                "overlap": data.overlap,
            },
            "rollouts_generated": trainer.counters["rollouts_generated"],
            "rollouts_reused": trainer.counters["rollouts_reused"],
            **{name: trainer.counters[name] for name in STORE_COUNTERS if name in trainer.counters},
            "tokens_generated": trainer.counters["tokens_generated"],
            "optimizer_steps": trainer.state.global_step,
            "rounds_without_signal": len({row["round"] for row in run.read_metrics() if row.get("signal") == 0}),
            "non_finite_steps": trainer.counters["non_finite_steps"],
            "weights_changed": changed,
            "wall_seconds": wall,
            "seconds_generating": trainer.seconds["generating"],
            "seconds_training": trainer.seconds["training"],
            "seconds_evaluating": evaluating,
            "peak_memory_bytes": peak_memory_bytes(),
            "seed": recipe.seed,
            "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
            "machine": {
                "platform": platform.platform(),
                "cpus": os.cpu_count(),
                "threads": torch.get_num_threads(),
                "why_threads": threads,
            },
        }
    )


def peak_memory_bytes() -> int:
    """Return the peak memory of this process: resident on the host plus allocated on the accelerator."""
    return _peak_resident_bytes() + (torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0)


def _peak_resident_bytes() -> int:
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

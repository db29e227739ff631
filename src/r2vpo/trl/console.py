"""What a Python script shows of training: a short line for each log, in one order, in place of all logged numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer

SHOWN = (
    "loss", "reward", "reward_std", "decision_variance", "decision_variance_target", "dual", "step_scale", "entropy",
    "explained_variance", "completion_length", "tokens_per_second", "rollouts_generated", "rollouts_reused", "runtime",
)  # fmt: skip
"""Numbers of a line, by their names in docs/metrics.md. All of them are in `trainer.state.log_history`."""


def log_line(logs: Mapping[str, Any], state: TrainerState) -> str:
    """Return the numbers of `SHOWN` and each reward's mean, as far as a log has them, in an evaluation with `eval_`."""
    prefix = "eval_" if any(name.startswith("eval_") for name in logs) else ""
    # The last log has the time of the whole training.
    names = [name for shown in SHOWN for name in (f"{prefix}{shown}", f"train_{shown}") if name in logs]
    parts = [name for name in logs if name.startswith(f"{prefix}rewards/") and name.endswith("/mean")]
    place = names.index(f"{prefix}reward_std") if f"{prefix}reward_std" in names else len(names)
    names[place:place] = parts
    values = [logs[name] for name in names]
    numbers = [f"{value:.4g}" if isinstance(value, float) else f"{value}" for value in values]
    shown = [f"{name} {number}" for name, number in zip(names, numbers, strict=True)]
    return "  ".join([f"step {state.global_step}/{state.max_steps}", *shown])


class _ShortLines(TrainerCallback):
    """Write a line for each log, in the first process of all."""

    def write(self, line: str) -> None:
        """Write a line, by default to standard output."""
        print(line, flush=True)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """See `TrainerCallback.on_log`."""
        if state.is_world_process_zero and logs is not None:
            self.write(log_line(logs, state))


class PrintedSteps(_ShortLines, PrinterCallback):
    """Print a line for each log."""


class StepsAboveBar(_ShortLines, ProgressCallback):
    """Write a line for each log above the progress bar."""

    def write(self, line: str) -> None:
        """Write a line above the bar, if there is one."""
        if self.training_bar is not None:
            self.training_bar.write(line)


def show_short_lines(trainer: R2VPOTrainer) -> None:
    """Replace transformers' callbacks that show all logged numbers as a dict."""
    for theirs, ours in ((PrinterCallback, PrintedSteps), (ProgressCallback, StepsAboveBar)):
        if trainer.pop_callback(theirs) is not None:
            trainer.add_callback(ours)


def ignore_renamed_options() -> None:
    """Do not show that transformers has renamed `gradient_checkpointing`, the name by which TRL sets and reads it."""
    warnings.filterwarnings("ignore", message="`(is_)?gradient_checkpointing` is deprecated", category=FutureWarning)

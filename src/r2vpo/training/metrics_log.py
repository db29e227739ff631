"""Record what the trainer logs, one record per optimizer step in ``metrics.jsonl``, and show it."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from r2vpo.config.records import finite
from r2vpo.config.run_directory import RunDirectory
from r2vpo.training.progress import TrainingProgress

OF_CRITIC = ("value_loss", "explained_variance", "value_mean", "value_clip_fraction", "critic_grad_norm")
"""What only a run with a critic has."""
OF_PAIRS = ("effective_responses", "chosen_log_prob", "rejected_log_prob", "preference_margin", "preference_accuracy")
"""What only a run on preferences has."""
METRICS = (
    "step",
    "round",
    "seconds",
    "loss",
    "grad_norm",
    "learning_rate",
    "step_scale",
    "reward",
    "reward_std",
    "reward_std_within",
    "reward_std_between",
    "signal",
    "reward_parts",
    "reward_parts_std",
    "pass_rate_by_difficulty",
    "share_by_difficulty",
    "decision_variance",
    "decision_variance_target",
    "held_out_alignment",
    "ratio_variance",
    "dual",
    "mean_ratio",
    "effective_sample_size",
    "chi_square",
    "kl",
    "sign_flip_fraction",
    "clip_fraction",
    "entropy",
    "completion_length",
    "completion_length_max",
    "completion_truncated",
    *OF_CRITIC,
    "mean_stale_weight",
    "rollouts_generated",
    "rollouts_reused",
    "rollouts_used_again",
    "rollouts_written",
    "rollouts_of_others",
    "rollouts_collected",
    "stored_rows",
    "stored_share",
    "stored_versions",
    "stored_versions_left_out",
    "staleness_rows",
    "ratio_variance_by_staleness",
    "effective_sample_size_by_staleness",
    "seconds_generating",
    "seconds_training",
    "tokens_per_second",
    "replay_rows",
    "replay_bytes",
    "non_finite_log_probs",
    "non_finite_steps",
    "tokens_generated",
    *OF_PAIRS,
)
_NAMES_OF_TRL = {
    "chosen_log_prob": "logps/chosen",
    "rejected_log_prob": "logps/rejected",
    "preference_margin": "rewards/margins",
    "preference_accuracy": "rewards/accuracies",
}
"""TRL's names of numbers about preferences."""
_PARTS = {"reward_parts": re.compile(r"rewards/(.+)/mean"), "reward_parts_std": re.compile(r"rewards/(.+)/std")}


class MetricsLog(TrainerCallback):
    """Write one record for each optimizer step, and pass it to the display.

    Every record has every key of ``METRICS``; values that the step did not log or that are not finite are null.

    Args:
        run: the run to write to.
        display: the display that shows the records, or None.
        lists: returns the metrics that are lists (by staleness). They are kept out of the trainer's logs because
            trackers warn about values that they cannot draw. Lists in the logs are recorded too.
    """

    def __init__(
        self,
        run: RunDirectory,
        display: TrainingProgress | None = None,
        lists: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.run = run
        self.display = display
        self.lists = lists
        self._started = time.monotonic()
        self._seconds_before = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; a resumed run continues from the seconds of its last record."""
        self._started = time.monotonic()
        earlier = [record for record in self.run.read_metrics() if (record.get("step") or 0) <= state.global_step]
        self._seconds_before = (earlier[-1].get("seconds") or 0.0) if earlier else 0.0

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the record of a step; logs without a loss, as at the end of training, do not belong to a step."""
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        record = self.record(logs, step=state.global_step)
        self.run.append_metrics(record)
        if self.display is not None:
            self.display.update(record)

    def record(self, logs: Mapping[str, Any], *, step: int) -> dict[str, Any]:
        """Return the record of one step: all of ``METRICS``, in that order.

        Args:
            logs: what the trainer logged, under the names of ``METRICS``; the parts of the reward under TRL's.
            step: optimizer steps so far.
        """
        values: dict[str, Any] = {}
        for name, pattern in _PARTS.items():
            values[name] = {found[1]: logs[key] for key in logs if (found := pattern.fullmatch(key))}
        values["seconds"] = self._seconds_before + time.monotonic() - self._started
        values.update(logs)
        values.update({name: logs[theirs] for name, theirs in _NAMES_OF_TRL.items() if theirs in logs})
        if self.lists is not None:
            values.update(self.lists())
        values["step"] = step
        return {name: finite(values.get(name)) for name in METRICS}

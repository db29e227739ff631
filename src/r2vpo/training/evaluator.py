"""Evaluate held-out accuracy before, during and after training, and record it in the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from r2vpo.config.recipe import Recipe
from r2vpo.config.run_directory import RunDirectory
from r2vpo.core.log_probs import length_limits
from r2vpo.data import PromptData
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.data.rows import digest_of
from r2vpo.evaluation.completions import Answered, evaluate
from r2vpo.evaluation.measures import by_difficulty, measure, measure_by_difficulty
from r2vpo.evaluation.prompts import suitable_sampler
from r2vpo.sampling import GenerateSampler, make_sampler
from r2vpo.training.progress import TrainingProgress
from r2vpo.training.setup import Parts
from r2vpo.training.shared_sampling import SharedSampling
from r2vpo.trl import R2VPOTrainer
from r2vpo.trl.guards import guard_reward

if TYPE_CHECKING:
    from r2vpo.training.pairs import PairsTrainer


def data_digests(data: PromptData) -> dict[str, str]:
    """Return digests that identify the problems of a run."""
    return {"train": digest_of(data.train), "held_out": digest_of(data.held_out)}


class Evaluator(TrainerCallback):
    """Evaluate the current policy greedily on the held-out problems, every few rounds and on request.

    All processes of a run have an evaluator and call it together: each answers a share of the problems, and the main
    process grades and records the answers.

    Args:
        recipe: the recipe.
        parts: data, reward and tokenizer.
        trainer: the trainer whose policy is evaluated.
        run: the run that the records are written to.
        display: the display that shows them.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        parts: Parts,
        trainer: R2VPOTrainer | PairsTrainer,
        run: RunDirectory,
        display: TrainingProgress,
    ) -> None:
        self.recipe, self.parts, self.trainer, self.run, self.display = recipe, parts, trainer, run, display
        # As in the trainer: if the reward fails here, on the first real completions, the user has to fix it.
        self.reward = guard_reward(parts.reward)
        self._chosen: str | None = None
        self._last_step: int | None = None
        self._data = data_digests(parts.data)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate at the end of every `evaluation.every_rounds`-th round."""
        every = self.recipe.evaluated_every
        if every and state.global_step % every == 0:
            self.evaluate()

    def evaluate(self) -> None:
        """Evaluate now, unless this step has already been evaluated."""
        step = self.trainer.state.global_step
        if self._last_step == step:
            return
        self._last_step = step
        sampler: Any = SharedSampling(self._sampler())
        tokenizer, rows = self.parts.tokenizer, self.parts.data.held_out
        if not PartialState().is_main_process:
            sampler.greedy([encode_prompt(tokenizer, row.prompt) for row in rows])
            return
        started = time.monotonic()
        with self.display.during("evaluating"):
            problems = evaluate(sampler, tokenizer, rows, self.reward)
        record = {
            "step": step,
            "rollouts_generated": self.trainer.counters["rollouts_generated"],
            "seconds": sum(self.trainer.seconds.values()),
            "seconds_evaluating": time.monotonic() - started,
            "accuracy": measure(problems).accuracy.to_json(),
            "by_difficulty": {
                label: found.accuracy.to_json() for label, found in measure_by_difficulty(problems).items()
            },
            "correct": [problem.greedy.correct for problem in problems],
            "split": "held_out",
            "data": self._data,
            "completions": _shown(problems, self.recipe.evaluation.samples_shown),
        }
        self.run.append_evaluation(record)
        self.display.evaluation(record)

    def _sampler(self) -> Any:
        model, evaluation = self.trainer.sampling_model(), self.recipe.evaluation
        limits = {
            "pad_token_id": self.trainer.pad_token_id,
            "max_new_tokens": evaluation.max_new_tokens or self.recipe.rollout.max_new_tokens,
        }
        options: dict[str, Any] = dict(
            eos_token_ids=self.trainer.eos_token_ids,
            rows_per_batch=evaluation.rows_per_batch,
            progress=partial(self.display.sampled, "evaluating"),
            **limits,
        )
        if self.trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            # Sharded weights are gathered by calling the whole model, and all processes must take part in the call.
            return GenerateSampler(model, in_step=True, **options)
        if self._chosen is None:
            self._chosen = self.trainer.self_check.sampler
        if self._chosen is None or length_limits(model.config):
            # The sampler that suits the held-out prompts may differ from the trainer's.
            rows = self.parts.data.held_out
            self._chosen, _ = suitable_sampler(model, self.parts.tokenizer, rows, what="held-out problems", **limits)
        return make_sampler(self._chosen, model, **options)


def _shown(problems: Sequence[Answered], count: int) -> list[dict[str, Any]]:
    """Return `count` completions, taken from each difficulty in turn: the same problems in every evaluation."""
    turns = zip(*by_difficulty(problems).values(), strict=False)
    return [
        {
            "prompt": problem.prompt,
            "completion": problem.greedy.text,
            "answer": problem.right,
            "difficulty": problem.difficulty,
            "score": problem.greedy.score,
            "correct": problem.greedy.correct,
            "tokens": problem.greedy.tokens,
            "finished": problem.greedy.finished,
        }
        for problem in [one for turn in turns for one in turn][:count]
    ]

"""Preferences of a run about its own answers: the best against the worst of each group that the policy samples."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from datasets import Dataset

from r2vpo.data import PromptRow
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.errors import UserError
from r2vpo.rewards.check import call_reward
from r2vpo.sampling import Sample, make_sampler
from r2vpo.training.nothing_left import NothingLeft
from r2vpo.training.pairs import PairsTrainer
from r2vpo.trl import R2VPODPOConfig
from r2vpo.trl.dpo.batches import Batch
from r2vpo.trl.guards import guard_reward

WITHOUT_A_PAIR = 20
"""So many times in a row that no prompt of a round gave a pair end training."""
_SEED_STRIDE = 1_000_003
"""The seeds of two runs differ by more than the number of their rounds."""


@dataclass(frozen=True)
class Sampling:
    """How pairs are sampled.

    Attributes:
        rows: The problems.
        rewards: The parts of the reward.
        weights: Their weights.
        prompts: Prompts of a round.
        samples: Answers to each.
        temperature: Of the sampling.
        longest: The most tokens of an answer.
        rows_per_batch: Answers sampled at once; None means all.
    """

    rows: Sequence[PromptRow]
    rewards: Sequence[Callable[..., Any]]
    weights: Sequence[float]
    prompts: int
    samples: int
    temperature: float
    longest: int
    rows_per_batch: int | None


class OnlinePairsTrainer(PairsTrainer):
    """`PairsTrainer` whose rounds begin with answers of the policy, in one process.

    To each prompt of a round the policy, as it is at the round's start, samples `samples` answers. The one with the
    highest reward is chosen and the one with the lowest is rejected, of equal rewards the first; if all are equal there
    is no pair. The pairs are divided over the round's micro-batches, whose numbers of pairs differ by one at most; if
    there are fewer pairs than micro-batches, they are used in turn. If no prompt of a round gives a pair, the next ones
    are sampled, `WITHOUT_A_PAIR` times at most. The policy that the ratios refer to is that of the
    sampling; the reference of the loss is the initial model, as in DPO.

    Args:
        *given: The arguments of `PairsTrainer`. The data set only says how long an epoch is.
        sampling: How pairs are sampled.
        **named: The arguments by name.

    Raises:
        UserError: (`train`) no pair was found before the first step.
        NothingLeft: (`train`) none was found later, because all problems are solved or the policy has collapsed.

    Source:
        Online DPO (2402.04792), with a reward function in place of an annotator, and the best against the worst of more
        than two answers.
    """

    def __init__(self, *given: Any, sampling: Sampling, **named: Any) -> None:
        super().__init__(*given, **named)
        self.sampling = replace(sampling, rewards=[guard_reward(function) for function in sampling.rewards])
        self.counters["prompts_drawn"] = 0
        self.round_statistics: dict[str, float] = {}
        chosen = self.self_check.sampler
        if chosen is None:
            raise UserError(f"model.name: {self.self_check.refusal}")
        self._sampler = make_sampler(
            chosen,
            self.sampling_model(),
            eos_token_ids=self.eos_token_ids,
            pad_token_id=self.pad_token_id,
            temperature=sampling.temperature,
            max_new_tokens=sampling.longest,
            rows_per_batch=sampling.rows_per_batch,
            progress=lambda *counts: self.on_sampled(*counts),
        )

    def get_batch_samples(self, epoch_iterator: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the micro-batches of a step; a round does not end with an epoch, of which it takes no rows."""
        self._source = epoch_iterator
        return super().get_batch_samples(epoch_iterator, *args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset  # `clock`, which has no texts

    def _fetch_round(self, source: Any, num_batches: int, device: torch.device) -> None:
        saved, self._in_progress = self._in_progress, []
        if saved:  # of a checkpoint within a round
            batches = [[{name: value.to(device) for name, value in one.items()} for one in step] for step in saved]
            self._waiting.extend((step, None) for step in batches)
            return
        steps = min(self.args.steps_per_round, max(self.state.max_steps - self.state.global_step, 1))
        pairs = self._sampled_pairs()
        each = self.args.gradient_accumulation_steps
        pairs = [pairs[place % len(pairs)] for place in range(max(len(pairs), steps * each))]
        cuts = [place * len(pairs) // (steps * each) for place in range(steps * each + 1)]
        made = [self._collated(pairs[start:end], device) for start, end in pairwise(cuts)]
        self._waiting.extend((made[step * each : (step + 1) * each], None) for step in range(steps))
        self._begin(made, steps=steps)

    def _collated(self, pairs: list[dict[str, list[int]]], device: torch.device) -> Batch:
        return {name: value.to(device) for name, value in self.data_collator(pairs).items()}

    def _sampled_pairs(self) -> list[dict[str, list[int]]]:
        """Sample until a round has a pair; return the token ids of prompts and answers under TRL's names."""
        for attempt in range(WITHOUT_A_PAIR):
            started = time.perf_counter()
            self.on_phase("generating")
            pairs = self._round(attempt)
            self.seconds["generating"] += time.perf_counter() - started
            self.on_phase("training")
            if pairs:
                return pairs
        never = (
            f"{WITHOUT_A_PAIR} times in a row, no prompt of a round gave a pair: all rewards in each group were equal"
        )
        if self.state.global_step > 0:
            raise NothingLeft(
                f"{never}, so training ends after {self.state.global_step} of {self.args.max_steps} steps. Unless all "
                "problems are solved, the policy has collapsed: look at the completions in the report, and train with "
                "a lower learning rate or with step control"
            )
        raise UserError(
            f"{never}. Look at the completions in the report, and check the reward, the length of completions and how "
            "hard the problems are"
        )

    def _round(self, attempt: int) -> list[dict[str, list[int]]]:
        wanted, size = self.sampling, self.sampling.samples
        started = time.perf_counter()
        rows = [self._row(self.counters["prompts_drawn"] + place) for place in range(wanted.prompts)]
        self.counters["prompts_drawn"] += wanted.prompts
        prompts = [encode_prompt(self._tokenizer, row.prompt) for row in rows]
        seed = (self.args.seed * _SEED_STRIDE + self.counters["round"] + 1) * WITHOUT_A_PAIR + attempt
        samples = self._sampler.sample(prompts, size, seed=seed)
        rewards = self._rewards([row for row in rows for _ in range(size)], samples)
        groups = list(zip(prompts, rewards.split(size), _split(samples, size), strict=True))
        pairs = [_pair(prompt, scores, group) for prompt, scores, group in groups if scores.max() > scores.min()]
        tokens = [len(sample.response_ids) for sample in samples]
        self.counters["rollouts_generated"] += len(samples)
        self.counters["tokens_generated"] += sum(tokens)
        self.round_statistics = {
            "reward": float(rewards.mean()),
            "reward_std": float(rewards.std(correction=0)),
            "signal": len(pairs) / len(rows),
            "completion_length": sum(tokens) / len(tokens),
            "completion_length_max": float(max(tokens)),
            "completion_truncated": sum(not sample.finished for sample in samples) / len(samples),
            "tokens_per_second": sum(tokens) / (time.perf_counter() - started),
        }
        return pairs

    def _row(self, number: int) -> PromptRow:
        """Return the problem that is drawn as the so many-th: all in shuffled order before any is repeated."""
        rows = self.sampling.rows
        order = list(range(len(rows)))
        random.Random(f"pairs/{self.args.seed}/{number // len(rows)}").shuffle(order)
        return rows[order[number % len(rows)]]

    def _rewards(self, rows: list[PromptRow], samples: Sequence[Sample]) -> torch.Tensor:
        """Compute the weighted sum of the parts of the reward, (rows,) float64; a part that does not apply counts 0."""
        ids = [list(sample.response_ids) for sample in samples]
        texts = [self._tokenizer.decode(tokens, skip_special_tokens=True) for tokens in ids]
        total = torch.zeros(len(rows), dtype=torch.float64)
        for function, weight in zip(self.sampling.rewards, self.sampling.weights, strict=True):
            scores = call_reward(function, rows, texts, ids)
            total += weight * torch.tensor([score or 0.0 for score in scores], dtype=torch.float64)
        return total

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Log as `PairsTrainer` does, with the numbers of the round's answers."""
        super().log(logs | self.round_statistics, *args, **kwargs)

    def _method_state(self) -> dict[str, Any]:
        return super()._method_state() | {"round_statistics": dict(self.round_statistics)}

    def _restore_method_state(self, state: dict[str, Any]) -> None:
        super()._restore_method_state(state)
        self.round_statistics = state["round_statistics"]


def clock(config: R2VPODPOConfig, sampling: Sampling) -> Dataset:
    """Return a data set of which no row is read: it makes an epoch as long as one pass over the problems.

    Args:
        config: the trainer's.
        sampling: how pairs are sampled.
    """
    step = config.per_device_train_batch_size * config.gradient_accumulation_steps
    rounds = max(len(sampling.rows) // sampling.prompts, 1)
    nothing = [[0]] * (step * config.steps_per_round * rounds)
    return Dataset.from_dict(dict.fromkeys(("prompt_ids", "chosen_ids", "rejected_ids"), nothing))


def _pair(prompt: list[int], rewards: torch.Tensor, samples: Sequence[Sample]) -> dict[str, list[int]]:
    best, worst = samples[int(rewards.argmax())], samples[int(rewards.argmin())]
    return {"prompt_ids": prompt, "chosen_ids": list(best.response_ids), "rejected_ids": list(worst.response_ids)}


def _split(samples: Sequence[Sample], size: int) -> list[Sequence[Sample]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]

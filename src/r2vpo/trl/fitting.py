"""Trainer that checks loaded weights for completeness, and that model, tokenizer and prompts fit together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.utils.data import IterableDataset
from trl import GRPOTrainer
from trl.trainer import grpo_trainer

from r2vpo.core.log_probs.support import base_model
from r2vpo.models.fit import Room, check_tokenizer
from r2vpo.positions import position_limit
from r2vpo.trl.config import R2VPOConfig
from r2vpo.weights import read_weights

CHUNK = 1000
"""Number of prompts tokenised at once."""
MEASURED = 20_000
"""Number of prompts per data set measured when the trainer is built: the longest by characters."""


class FittingTrainer(GRPOTrainer):
    """A `GRPOTrainer` that refuses inputs that do not fit together: on construction, or at the round that has them.

    In a data set with more than `MEASURED` rows only the longest by characters are measured beforehand, and none in
    an iterable one; the prompts of a round, and the rows sampled from them, are always measured.
    """

    args: R2VPOConfig
    model: nn.Module
    num_generations: int
    num_generations_eval: int
    _room: Room | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with whole_weights():
            super().__init__(*args, **kwargs)
        # TRL puts the tokenizer's end token there, even if it has none.
        self.eos_token_ids[:] = [number for number in self.eos_token_ids if number is not None]
        model, what = base_model(self.model), type(base_model(self.model)).__name__
        stop = "model.generation_config.eos_token_id"
        check_tokenizer(model, self._tokenizer, self.eos_token_ids, what=what, stop=f"set {stop}")
        remedy = "leave prompts of more than {most} tokens out"
        self._room = Room(position_limit(model), self.max_completion_length or 0, "max_completion_length", remedy)
        evaluated = self.eval_dataset
        named = evaluated if isinstance(evaluated, dict) else {"eval_dataset": evaluated}
        for name, data in {"train_dataset": self.train_dataset, **named}.items():
            self._measure(data, name, self._room)

    def _measure(self, data: Any, name: str, room: Room) -> None:
        is_known = not isinstance(data, IterableDataset) and hasattr(data, "column_names")
        if not is_known or self.environment_factories or self._is_vlm or room.limit is None:
            return
        sizes: dict[int, int] = {}
        for start in range(0, len(data), CHUNK):
            prompts = data[start : start + CHUNK]["prompt"]
            sizes |= {start + place: len(str(prompt)) for place, prompt in enumerate(prompts)}
        rows = sorted(sorted(sizes, key=sizes.__getitem__)[-MEASURED:])
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            prompts = data[part]["prompt"]
            room.check(self._lengths(prompts), prompts, f"the prompt of {name}", rows=part)

    def _lengths(self, prompts: list[Any]) -> list[int]:
        return [len(ids) for ids in super()._tokenize_prompts(prompts)[0]]

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        tokenized = super()._tokenize_prompts(prompts)
        if self._room is not None and not self._is_vlm:
            self._room.check([len(ids) for ids in tokenized[0]], prompts, "the prompt of row")
        return tokenized

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        # Third-party samplers and tools can return rows of any length.
        lengths = (batch["prompt_mask"].sum(dim=1) + batch["completion_mask"].sum(dim=1)).tolist()
        if self._room is not None:
            self._room.check_rows(lengths)
        return batch


@contextlib.contextmanager
def whole_weights() -> Iterator[None]:
    """Let TRL load models and reward models by name through `read_weights` inside."""
    names: Any = grpo_trainer  # its attributes are replaced
    policy, scorer = names.create_model_from_path, names.AutoModelForSequenceClassification

    def read_policy(name: str, **options: Any) -> Any:
        return read_weights(policy, name, what=f"model {name!r}", **options)

    class Scorer:
        @staticmethod
        def from_pretrained(name: str, **options: Any) -> Any:
            return read_weights(scorer.from_pretrained, name, what=f"reward_funcs: {name!r}", **options)

    names.create_model_from_path, names.AutoModelForSequenceClassification = read_policy, Scorer
    try:
        yield
    finally:
        names.create_model_from_path, names.AutoModelForSequenceClassification = policy, scorer

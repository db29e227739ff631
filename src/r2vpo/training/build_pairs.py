"""Build the trainer of a recipe of `trainer.kind: dpo`: of given pairs, or of pairs of the policy's own answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import datasets
from transformers import PrinterCallback

from r2vpo.config.recipe import Recipe
from r2vpo.data import to_pairs
from r2vpo.data.pair_tokens import end_of_answers
from r2vpo.training.online_pairs import OnlinePairsTrainer, Sampling, clock
from r2vpo.training.optimizers import own_optimizer
from r2vpo.training.pairs import PairsTrainer
from r2vpo.training.setup import Parts
from r2vpo.trl import R2VPODPOConfig


def build_pairs_trainer(recipe: Recipe, config: R2VPODPOConfig, parts: Parts) -> PairsTrainer:
    """Return the trainer.

    Args:
        recipe: the recipe.
        config: its configuration for TRL.
        parts: data, reward, tokenizer and model.
    """
    given: dict[str, Any] = dict(
        model=parts.model,
        # Without one, TRL would load the model again by its name, which need not be one of the hub.
        ref_model=copy.deepcopy(parts.model) if parts.peft_config is None else None,
        args=config,
        processing_class=parts.tokenizer,
        peft_config=parts.peft_config,
    )
    trainer: PairsTrainer
    with _without_bars():
        if recipe.is_offline:
            trainer = PairsTrainer(
                train_dataset=to_pairs(parts.data.train), answer_end=_answer_end(recipe, parts), **given
            )
        else:
            sampling = _sampling(recipe, parts)
            trainer = OnlinePairsTrainer(train_dataset=clock(config, sampling), sampling=sampling, **given)
    trainer.remove_callback(PrinterCallback)
    trainer.optimizer_cls_and_kwargs = own_optimizer(recipe)
    return trainer


def _answer_end(recipe: Recipe, parts: Parts) -> int | None:
    """Return the token that ends the given answers; None for chats, whose template ends them."""
    if not isinstance(parts.data.train[0].prompt, str):
        return None
    return end_of_answers(parts.tokenizer, recipe.rollout.stop)


def _sampling(recipe: Recipe, parts: Parts) -> Sampling:
    rollout = recipe.rollout
    return Sampling(
        rows=parts.data.train,
        rewards=[parts.reward, *parts.more_rewards],
        weights=[part.weight for part in recipe.reward.all_parts()],
        prompts=rollout.prompts_per_round,
        samples=rollout.samples_per_prompt,
        temperature=rollout.temperature,
        longest=rollout.max_new_tokens,
        rows_per_batch=rollout.rows_per_batch,
    )


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the bars of `datasets` about short work."""
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()

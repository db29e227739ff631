"""Build the trainer of a recipe from its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from transformers import PrinterCallback

from r2vpo.config.recipe import Recipe, dump_recipe
from r2vpo.config.run_directory import POLICIES
from r2vpo.data import to_dataset
from r2vpo.data.options import DatasetOptions
from r2vpo.training.optimizers import own_optimizer
from r2vpo.training.setup import Parts
from r2vpo.trl import R2VPOConfig, R2VPOTrainer


def build_trainer(recipe: Recipe, config: R2VPOConfig, parts: Parts, *, name: str) -> R2VPOTrainer:
    """Return the trainer.

    Args:
        recipe: the recipe.
        config: its configuration for TRL.
        parts: data, reward, tokenizer and model.
        name: what a store calls the run.
    """
    trainer = R2VPOTrainer(
        model=parts.model,
        reward_funcs=[parts.reward, *parts.more_rewards],
        args=config,
        train_dataset=to_dataset(parts.data.train),
        processing_class=parts.tokenizer,
        peft_config=parts.peft_config,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.optimizer_cls_and_kwargs = own_optimizer(recipe)
    if trainer.stored is not None:
        trainer.stored.name, trainer.stored.recipe = name, _as_stored(recipe)
        trainer.stored.evaluated_on = [row.question or row.prompt for row in parts.data.held_out]
        if isinstance(recipe.data, DatasetOptions):
            trainer.stored.longest_prompt = recipe.data.max_prompt_tokens
        trainer.stored.policies = Path(config.output_dir).parent / POLICIES
    return trainer


def _as_stored(recipe: Recipe) -> str:
    """Return the recipe as text without the store's password, since all who read the store can read it."""
    from r2vpo.store.opening import shown

    assert recipe.replay.store is not None, "called only with a store"
    replay = replace(recipe.replay, store=shown(recipe.replay.store))
    return dump_recipe(recipe.model_copy(update={"replay": replay}))

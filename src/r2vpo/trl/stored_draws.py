"""What a trainer draws from the store of `replay.store`, and what it leaves out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.replay_options import SourceOptions
from r2vpo.models.stored_tokenizer import decoder_of
from r2vpo.positions import position_limit
from r2vpo.store import RolloutStore, drawing
from r2vpo.store.apart import asks_one_of
from r2vpo.store.fitting import Lengths
from r2vpo.store.other_runs import DrawsOfRun
from r2vpo.trl.stored_options import as_source

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer


def draws_of(
    trainer: R2VPOTrainer,
    store: RolloutStore,
    run: int,
    source: SourceOptions,
    *,
    reward_version: str,
    tokenizer: str,
    evaluated_on: Sequence[Any],
    longest_prompt: int | None,
) -> DrawsOfRun:
    """Return the draws of a trainer's run, and warn of what they leave out.

    Args:
        trainer: The trainer.
        store: The store.
        run: The run's id.
        source: `replay.from`.
        reward_version: Version of the run's reward.
        tokenizer: Fingerprint of its tokenizer.
        evaluated_on: Problems whose answers are not drawn.
        longest_prompt: The most tokens of a prompt that is drawn, if that is limited.

    Raises:
        UserError: Nothing can be drawn.
    """
    with store.reading() as connection:
        wanted = as_source(source, now=drawing.run_of(connection, run).started)
        reward = drawing.reward_of(connection, wanted, reward_version)
    model = trainer.accelerator.unwrap_model(trainer.model)
    lengths = Lengths(longest_prompt, trainer.args.max_completion_length, position_limit(model))
    draws = DrawsOfRun(
        store,
        run,
        reward,
        wanted,
        tokenizer=tokenizer,
        ratio=source.ratio,
        advantages=lambda rewards, size: advantages_of(trainer, rewards, size),
        cap=trainer.method.config.stale_weight_cap,
        part=(trainer.accelerator.process_index, trainer.accelerator.num_processes),
        total=lambda sums: trainer._total(sums).cpu() if trainer.accelerator.num_processes > 1 else sums,
        seed=trainer.args.seed,
        apart=(asks_one_of(evaluated_on), decoder_of(trainer._tokenizer)) if evaluated_on else None,
        lengths=lengths,
    )
    if trainer.accelerator.is_main_process:
        _warn(len(draws.evaluated_on), "answers to problems that this run is evaluated on")
        _warn(len(draws.too_long), f"more tokens than this run trains on ({lengths})")
    return draws


def advantages_of(trainer: R2VPOTrainer, rewards: Tensor, size: int) -> Tensor:
    """Return the advantages of rows whose rewards are given, in groups of one size."""
    return ADVANTAGES[trainer.args.advantage.name](rewards, size)


def _warn(groups: int, reason: str) -> None:
    if groups:
        some = "1 group in the store is" if groups == 1 else f"{groups:,} groups in the store are"
        warnings.warn(f"{some} not drawn because of {reason}", stacklevel=3)

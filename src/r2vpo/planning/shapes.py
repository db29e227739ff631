"""Numbers of rows and tokens per process, from a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

from r2vpo.config.recipe import Recipe


@dataclass(frozen=True)
class Shapes:
    """Rows and tokens of one process.

    Attributes:
        prompt_tokens: longest prompt.
        response_tokens: longest response.
        answer_tokens: longest response of an evaluation.
        rows: rows of a micro-batch, including stale ones.
        groups: distinct prompts in it.
        sampled_rows: responses sampled at once; 0 if another program samples.
        evaluated_rows: problems answered at once.
        kept_rows: rollouts that the replay and the round hold.
        kept_groups: distinct prompts of those rollouts.
    """

    prompt_tokens: int
    response_tokens: int
    answer_tokens: int
    rows: int
    groups: int
    sampled_rows: int
    evaluated_rows: int
    kept_rows: int
    kept_groups: int


def shapes_of(recipe: Recipe, *, processes: int, prompt_tokens: int) -> Shapes:
    """Compute the shapes of one of several processes, with all rows at their longest.

    Args:
        recipe: the recipe.
        processes: number of processes that share a round.
        prompt_tokens: longest prompt.
    """
    rollout, trainer, replay = recipe.rollout, recipe.trainer, recipe.replay
    fresh = recipe.rows_per_round // processes
    stale = replay.ratio if replay.versions else 0.0
    rows = math.ceil(fresh * (1 + stale) / (trainer.optimizer_steps_per_round * trainer.micro_batches))
    kept = fresh * (1 + replay.versions)
    held_out, batch = recipe.data.held_out_size, recipe.evaluation.rows_per_batch
    return Shapes(
        prompt_tokens=prompt_tokens,
        response_tokens=rollout.max_new_tokens,
        answer_tokens=recipe.evaluation.max_new_tokens or rollout.max_new_tokens,
        rows=rows,
        groups=math.ceil(rows / rollout.samples_per_prompt),
        sampled_rows=0 if rollout.sampler == "vllm" else min(fresh, rollout.rows_per_batch or fresh),
        evaluated_rows=min(math.ceil((held_out or batch * processes) / processes), batch),
        kept_rows=kept,
        kept_groups=kept // rollout.samples_per_prompt,
    )

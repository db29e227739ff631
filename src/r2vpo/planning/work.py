"""How much a run samples and trains, and roughly how long that takes at a given speed."""

from __future__ import annotations

from dataclasses import dataclass

from r2vpo.config.recipe import Recipe
from r2vpo.planning.architecture import Architecture


@dataclass(frozen=True)
class Speed:
    """Speed of a device; assumptions, not measurements.

    Attributes:
        flops: peak floating-point operations per second.
        training_share: share of the peak that training reaches.
        generation_share: share of the peak that sampling reaches, which is limited by memory.
    """

    flops: float = 989e12
    training_share: float = 0.35
    generation_share: float = 0.05

    def described(self) -> str:
        """Describe the assumptions in one line."""
        return (
            f"{self.flops / 1e12:,.3g} TFLOP/s per device, of which training reaches {self.training_share:.0%} and "
            f"sampling {self.generation_share:.0%}"
        )


@dataclass(frozen=True)
class Work:
    """Total work of a run.

    Attributes:
        rounds: rounds of sampling.
        rollouts: responses sampled in training.
        rows_trained: rows of all optimizer steps: fresh and stale ones, counted each time they are used.
        tokens_generated: tokens sampled in training.
        tokens_evaluated: tokens of the greedy answers in all evaluations.
        tokens_trained: tokens of responses in all backward passes.
        generation_flops: operations of sampling.
        evaluation_flops: operations of the evaluations.
        training_flops: operations of the log-probs at each round's start and of forward and backward passes.
        rollouts_without_reuse: responses that the same number of different rows would need if none were reused in a
            later round.
        reuse_saves: largest share of those that reuse saves.
    """

    rounds: int
    rollouts: int
    rows_trained: int
    tokens_generated: float
    tokens_evaluated: float
    tokens_trained: float
    generation_flops: float
    evaluation_flops: float
    training_flops: float
    rollouts_without_reuse: int
    reuse_saves: float

    def hours(self, speed: Speed, devices: int) -> dict[str, float]:
        """Estimate the hours of generating, evaluating and training on that many devices, one after the other."""
        second = speed.flops * devices * 3600
        return {
            "generating": self.generation_flops / (second * speed.generation_share),
            "evaluating": self.evaluation_flops / (second * speed.generation_share),
            "training": self.training_flops / (second * speed.training_share),
        }


def work_of(model: Architecture, recipe: Recipe, *, prompt_tokens: int, response_tokens: float) -> Work:
    """Count the work of a recipe's run.

    Args:
        model: the model in numbers.
        recipe: the recipe.
        prompt_tokens: number of tokens of a prompt.
        response_tokens: mean number of tokens of a response; with the longest allowed, all results are upper bounds.
    """
    rollout, trainer, replay = recipe.rollout, recipe.trainer, recipe.replay
    rounds, fresh = recipe.rounds, recipe.rows_per_round
    stale = int(replay.ratio * fresh + 1e-9) if replay.versions else 0
    rollouts, distinct = rounds * fresh, rounds * fresh + (rounds - 1) * stale
    prompt_share = prompt_tokens / (1 if trainer.gradient_checkpointing else rollout.samples_per_prompt)
    token = _token_flops(model, prompt_tokens + response_tokens / 2)
    # Forward 1, backward 2, and another forward if activations are recomputed; 1 for the round's start. Frozen weights
    # have no gradient.
    models = 2 if recipe.critic.enabled and recipe.critic.model != "shared" else 1
    passes = (1 + (2 if model.full_finetuning else 1) + trainer.gradient_checkpointing) * trainer.passes + 1
    answers = (recipe.data.held_out_size or 0) * _evaluations(recipe, rounds)
    answer = min(response_tokens, recipe.evaluation.max_new_tokens or response_tokens)
    return Work(
        rounds=rounds,
        rollouts=rollouts,
        rows_trained=distinct * trainer.passes,
        tokens_generated=rollouts * response_tokens,
        tokens_evaluated=answers * answer,
        tokens_trained=distinct * trainer.passes * response_tokens,
        generation_flops=rollouts * (response_tokens + prompt_tokens / rollout.samples_per_prompt) * token,
        evaluation_flops=answers * (answer + prompt_tokens) * token,
        training_flops=distinct * (response_tokens + prompt_share) * token * passes * models,
        rollouts_without_reuse=distinct,
        reuse_saves=1 - rollouts / distinct,
    )


def _token_flops(model: Architecture, positions: float) -> float:
    """Count the operations of a token's forward pass: two per matrix weight, and attention to that many positions."""
    weights = model.matrices + model.vocabulary * model.hidden
    return 2 * weights + 4 * model.layers * model.heads * model.head_width * positions


def _evaluations(recipe: Recipe, rounds: int) -> int:
    """Count evaluations: before, after, and every few rounds; the last step is not evaluated twice."""
    every = recipe.evaluation.every_rounds
    return 2 + ((rounds - 1) // every if every else 0)

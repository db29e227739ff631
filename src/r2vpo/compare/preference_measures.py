"""What training has done to a model besides accuracy: win rate over the start, displacement and KL divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from r2vpo.config.records import Record
from r2vpo.config.run_directory import RunDirectory
from r2vpo.data import load_data
from r2vpo.data.options import HabitOptions, ReasoningGymOptions
from r2vpo.data.pair_tokens import encode_answered, end_of_answers
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.evaluation.completions import evaluate
from r2vpo.evaluation.preference import outcomes_by_score, preference
from r2vpo.evaluation.prompts import suitable_sampler
from r2vpo.evaluation.subject import Subject, find_subject, load_subject
from r2vpo.precision import computes_on_cpu
from r2vpo.sampling import make_sampler
from r2vpo.training.setup import reward_functions
from r2vpo.trl.guards import guard_reward

SAMPLES = 4
"""Answers that the trained model samples to each held-out problem, for the KL divergence."""
_ROWS_AT_ONCE = 64


def measure_preferences(run: RunDirectory) -> Record:
    r"""Compare the trained model of a run with the model that it started from, on the held-out problems.

    - ``win_rate``: share of the problems on which the greedy answer of the trained model has the higher reward (the
      first part of the recipe's reward), equal rewards counted half.
    - ``displacement``: :math:`\sum_i (\log\pi(c_i) - \log\pi_0(c_i)) / \sum_i |c_i|`, nats per token, over the chosen
      answer :math:`c_i` of each problem with the token that ends it. That is the right answer, as in the pairs of the
      source.
    - ``kl``: :math:`\sum_j (\log\pi(y_j) - \log\pi_0(y_j)) / \sum_j |y_j|`, nats per token, over ``SAMPLES`` answers
      :math:`y_j \sim \pi` to each problem at temperature 1. The expectation of the numerator is the KL divergence of
      whole answers, as long as none is cut at the limit; since it is an estimate, it may be slightly negative.
    - ``kl_tokens``: number of tokens in those answers.

    :math:`\pi` is the trained model and :math:`\pi_0` the start, which is the reference of DPO, both in float32.

    Args:
        run: a finished run whose data source is ``habit`` or ``reasoning_gym``.

    Source:
        The displacement is what Razin et al. (2410.08847) call likelihood displacement, per token.
    """
    recipe = run.recipe()
    assert isinstance(recipe.data, HabitOptions | ReasoningGymOptions), "an experiment refuses other sources"
    options: dict[str, Any] = {
        "device": "cpu" if computes_on_cpu(recipe.trainer.device) else "cuda",
        "dtype": "float32",
        "stop": recipe.rollout.stop,
    }
    trained, tokenizer, ends = load_subject(find_subject(str(run.path)), **options)
    name, model = recipe.model.name, recipe.model
    start, *_ = load_subject(
        Subject(name, name, seed=recipe.model_seed, trust_remote_code=model.trust_remote_code), **options
    )
    rows = load_data(recipe.data, seed=recipe.seed).held_out
    limits = {
        "pad_token_id": tokenizer.pad_token_id,
        "max_new_tokens": recipe.evaluation.max_new_tokens or recipe.rollout.max_new_tokens,
    }
    suited, _ = suitable_sampler(trained, tokenizer, rows, what="held-out problems", **limits)
    limits |= {"rows_per_batch": recipe.evaluation.rows_per_batch}
    ours, theirs = (make_sampler(suited, one, eos_token_ids=ends, **limits) for one in (trained, start))
    reward = guard_reward(reward_functions(recipe.reward)[0])
    after, before = ([one.greedy.score for one in evaluate(by, tokenizer, rows, reward)] for by in (ours, theirs))

    prompts = [encode_prompt(tokenizer, row.prompt) for row in rows]
    written, end = recipe.data.written, end_of_answers(tokenizer, recipe.rollout.stop)
    chosen = [
        [*encode_answered(tokenizer, row.prompt, written(row.answer))[len(prompt) :], end]
        for row, prompt in zip(rows, prompts, strict=True)
    ]
    drawn = [list(sample.response_ids) for sample in ours.sample(prompts, SAMPLES, seed=recipe.seed)]
    of_drawn = [prompt for prompt in prompts for _ in range(SAMPLES)]
    return {
        "win_rate": preference(outcomes_by_score(after, before)).win_rate.value,
        "displacement": moved(trained, start, prompts, chosen),
        "kl": moved(trained, start, of_drawn, drawn),
        "kl_tokens": sum(map(len, drawn)),
    }


def moved(trained: Any, start: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> float:
    r"""Compute how much more likely answers are under one model than under another, in nats per token.

    :math:`\sum_i (\log\pi(y_i \mid x_i) - \log\pi_0(y_i \mid x_i)) / \sum_i |y_i|`

    Args:
        trained: pi, a causal language model in evaluation mode.
        start: pi_0, another one with the same tokenizer, on the same device.
        prompts: x, token ids of the prompt of each answer.
        answers: y, token ids; none is empty.
    """
    of_trained, of_start = (_log_prob(model, prompts, answers) for model in (trained, start))
    return (of_trained - of_start) / sum(map(len, answers))


@torch.no_grad()
def _log_prob(model: Any, prompts: Sequence[list[int]], answers: Sequence[list[int]]) -> float:
    """Return the log-probability of all answers together, in nats."""
    total = 0.0
    for first in range(0, len(prompts), _ROWS_AT_ONCE):
        batch = list(zip(prompts, answers, strict=True))[first : first + _ROWS_AT_ONCE]
        # Padding on the right, of any token, changes nothing before it.
        ids = pad_sequence([torch.tensor(prompt + answer) for prompt, answer in batch], batch_first=True)
        ids = ids.to(model.device)
        log_probs = model(input_ids=ids).logits[:, :-1].float().log_softmax(-1)
        of_tokens = log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1).double().cpu()
        for row, (prompt, answer) in zip(of_tokens, batch, strict=True):
            total += float(row[len(prompt) - 1 : len(prompt) + len(answer) - 1].sum())
    return total

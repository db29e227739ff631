"""How the next token is drawn, the same for every sampler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from r2vpo.errors import UserError

SKIPPED_AT_ONCE = 2**16
"""Numbers in memory at once of those that belong to other processes: half a megabyte."""


def check_prompts(prompts: list[list[int]]) -> None:
    """Refuse to sample from nothing.

    Args:
        prompts: token ids of each prompt.

    Raises:
        ValueError: there is no prompt, or a prompt without a token.
    """
    if not prompts:
        raise ValueError("there is no prompt to sample from: pass at least one")
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {number} has no token: give every prompt at least one")


def uniform_numbers(seed: int | Sequence[tuple[int, int]], rows: int, steps: int, *, first_row: int = 0) -> Tensor:
    """Numbers in [0, 1) that choose the tokens, one for every row and step.

    Args:
        seed: of all the rows; or, for each prompt, its own seed and its number of rows.
        rows: number of rows.
        steps: longest response.
        first_row: rows that stand before these under one seed.

    Returns:
        (rows, steps), float64, on the CPU: the same on every device and for every split into batches.

    Raises:
        ValueError: seeds of prompts for another number of rows, or together with first_row.
    """
    if isinstance(seed, int):
        generator = torch.Generator().manual_seed(seed)
        # The generator cannot jump: what belongs to the rows before is drawn over and over into one piece of memory.
        passed = torch.empty(min(first_row * steps, SKIPPED_AT_ONCE), dtype=torch.float64)
        for start in range(0, first_row * steps, SKIPPED_AT_ONCE):
            passed[: first_row * steps - start].uniform_(generator=generator)
        return torch.rand((rows, steps), dtype=torch.float64, generator=generator)
    total = sum(count for _, count in seed)
    if total != rows or first_row:
        raise ValueError(f"seeds of {total} rows for {rows} rows from row {first_row} on: pass a seed for each prompt")
    return torch.cat(
        [
            torch.rand((count, steps), dtype=torch.float64, generator=torch.Generator().manual_seed(one))
            for one, count in seed
        ]
    )


def choose_tokens(
    logits: Tensor, uniform: Tensor | None, *, temperature: float, entropy: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Choose the next token of each row, without waiting for the device.

    Args:
        logits: (B, V), float32; overwritten.
        uniform: (B,) in [0, 1), the place in the cumulative distribution that is drawn; None takes the likeliest.
        temperature: divides the logits.
        entropy: compute the entropy too.

    Returns:
        Token ids (B,), their log-probabilities (B,) and the entropy (B,) or None, of the distribution at the
        temperature, in nats. A row whose logits are not finite has a log-probability that is not, for `check_finite`.
    """
    token = logits.argmax(-1) if uniform is None else None
    logits /= temperature
    normalizer = logits.logsumexp(-1)
    probabilities = (logits - normalizer[:, None]).exp_() if entropy or token is None else None
    if token is None:
        assert probabilities is not None and uniform is not None
        token = inverse_cdf(probabilities, uniform)
    log_prob = logits.gather(-1, token[:, None]).squeeze(-1) - normalizer
    return token, log_prob.clamp_(max=0.0), torch.special.entr(probabilities).sum(-1) if entropy else None


def check_finite(log_probs: Tensor, *, rows: int, first_step: int) -> None:
    """Refuse log-probabilities of logits that were not finite.

    Args:
        log_probs: (B, N) nats, of N tokens of each row as `choose_tokens` gave them.
        rows: how many rows were drawn from, for the error.
        first_step: place in the response of the first of the N tokens.

    Raises:
        UserError: a log-probability that is not finite; the message names the first step at which one was.
    """
    bad = (~log_probs.isfinite()).sum(0).tolist()
    for step, count in enumerate(bad, start=first_step):
        if count:
            raise UserError(
                f"the logits of {count} of {rows} rows are not finite at response token {step}: "
                "the weights have diverged, go back to a checkpoint or lower the learning rate"
            )


def inverse_cdf(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """The token at which the cumulative distribution passes a uniform number: (B, V) and (B,) to (B,).

    A sum in float64, so that the rare tokens keep their share of a large vocabulary.
    """
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # Strictly below the total: a token of probability 0 at the end of the vocabulary is never drawn.
    point = torch.minimum(uniform[:, None] * total, total.nextafter(total.new_zeros(())))
    # Above all of a row that is not finite: its token has to be one of the vocabulary all the same.
    return torch.searchsorted(cumulative, point, right=True).squeeze(-1).clamp_(max=probabilities.shape[-1] - 1)

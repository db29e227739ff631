"""Drawing of the next token, shared by all samplers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from r2vpo.errors import UserError

SKIPPED_AT_ONCE = 2**16
"""Random numbers of other processes that are held in memory at once: half a megabyte."""


def check_prompts(prompts: list[list[int]]) -> None:
    """Reject empty prompts.

    Args:
        prompts: token ids of each prompt.

    Raises:
        ValueError: there is no prompt, or a prompt has no token.
    """
    if not prompts:
        raise ValueError("there is no prompt to sample from: pass at least one")
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {number} has no token: give every prompt at least one")


def uniform_numbers(seed: int | Sequence[tuple[int, int]], rows: int, steps: int, *, first_row: int = 0) -> Tensor:
    """Draw the numbers in [0, 1) that choose the tokens, one for every row and step.

    Args:
        seed: one seed for all rows; or, for each prompt, its own seed and its number of rows.
        rows: number of rows.
        steps: longest response.
        first_row: number of rows that precede these under one seed.

    Returns:
        (rows, steps), float64, on the CPU: the same on every device and for every split into batches.

    Raises:
        ValueError: the seeds of prompts are for a different number of rows, or are combined with first_row.
    """
    if isinstance(seed, int):
        generator = torch.Generator().manual_seed(seed)
        # The generator cannot skip ahead: the numbers of the preceding rows are drawn into the same buffer repeatedly.
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
        uniform: (B,) in [0, 1), the point of the cumulative distribution to draw; None takes the likeliest token.
        temperature: divides the logits.
        entropy: also compute the entropy.

    Returns:
        Token ids (B,), their log-probabilities (B,) and the entropy (B,) or None, of the distribution at the
        temperature, in nats. A row whose logits are not finite has a log-probability that is not finite, for
        `check_finite`.
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
    """Reject log-probabilities of logits that were not finite.

    Args:
        log_probs: (B, N) nats, of N tokens of each row, as returned by `choose_tokens`.
        rows: number of rows drawn from, for the error message.
        first_step: position in the response of the first of the N tokens.

    Raises:
        UserError: a log-probability is not finite; the message names the first step at which this happened.
    """
    bad = (~log_probs.isfinite()).sum(0).tolist()
    for step, count in enumerate(bad, start=first_step):
        if count:
            raise UserError(
                f"the logits of {count} of {rows} rows are not finite at response token {step}: "
                "the weights have diverged, go back to a checkpoint or lower the learning rate"
            )


def inverse_cdf(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Find the token at which the cumulative distribution passes a uniform number: (B, V) and (B,) to (B,).

    The sum is in float64, so that rare tokens of a large vocabulary keep their share.
    """
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # Strictly below the total, so that a token of probability 0 at the end of the vocabulary is never drawn.
    point = torch.minimum(uniform[:, None] * total, total.nextafter(total.new_zeros(())))
    # Clamped for rows that are not finite: their token, too, has to be in the vocabulary.
    return torch.searchsorted(cumulative, point, right=True).squeeze(-1).clamp_(max=probabilities.shape[-1] - 1)

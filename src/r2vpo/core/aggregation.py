"""Reduce per-token values to a scalar, with an explicit denominator.

With the same global `normalizer`, the results of micro-batches (or processes) *add up* to the result of the
whole batch.
"""

from collections.abc import Callable

from torch import Tensor

from r2vpo.core.masking import masked_sum
from r2vpo.core.validation import check_number


def _responses(response_mask: Tensor) -> Tensor:
    # A row without a single response token is padding, not a response.
    return response_mask.any(dim=1).sum()


def _token_mean(values: Tensor, response_mask: Tensor, constant: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return masked_sum(values, response_mask), Tensor.sum


def _sequence_mean(values: Tensor, response_mask: Tensor, constant: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    lengths = response_mask.sum(dim=1).clamp(min=1)
    return (masked_sum(values, response_mask, dim=1) / lengths).sum(), _responses


def _constant(values: Tensor, response_mask: Tensor, constant: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    return masked_sum(values, response_mask) / constant, _responses


_MODES = {"token_mean": _token_mean, "sequence_mean": _sequence_mean, "constant": _constant}


def aggregate(
    values: Tensor,
    response_mask: Tensor,
    *,
    aggregation: str = "token_mean",
    normalizer: float | Tensor | None = None,
    constant: float | None = None,
    single: bool = False,
) -> Tensor:
    """Reduce per-token values to a scalar.

    `token_mean`: `sum(m x) / N`, with N response tokens: every token counts the same (DAPO).
    `sequence_mean`: `sum_i (sum_t(m x) / n_i) / R`, R responses of n_i tokens: responses count the same (GRPO).
    `constant`: `sum(m x) / (R C)`, with a fixed C: a response counts in proportion to its length (Dr. GRPO).

    Args:
        values: Broadcastable to (B, T); padding may hold anything.
        response_mask: (B, T) bool.
        aggregation: The mode.
        normalizer: The global N (tokens, for `token_mean`) or R (responses, otherwise) over all micro-batches and
            processes whose results are added up; None uses this batch's own. Rows without response tokens are not
            counted.
        constant: C, in tokens; for `constant` only.
        single: True if every response is known to be a single token without padding, (B, 1) and a mask that is True
            everywhere. N and R are then B.

    Returns:
        0-d; gradient flows to `values`.

    Raises:
        ValueError: The normalizer is a number that is not positive. (A tensor is not checked, because that would wait
            for the device.)

    Source: GRPO (2402.03300), DAPO (2503.14476), Dr. GRPO (2503.20783).
    """
    if single and normalizer is None:
        return values.mean() if constant is None else values.mean() / constant
    total, own = _MODES[aggregation](values, response_mask, 1.0 if constant is None else constant)
    if normalizer is None:
        return total / own(response_mask).clamp(min=1)
    if not isinstance(normalizer, Tensor):
        remedy = "pass the global number of response tokens (token_mean) or of responses"
        check_number("normalizer", normalizer, above=0, remedy=remedy)
    return total / normalizer

"""Diagnostics of a run, as sums by staleness: added up over micro-batches and processes, then divided once."""

from collections.abc import Mapping

import torch
from torch import Tensor

from r2vpo.core.types import LossOutput

QUANTITIES = (
    "tokens",
    "weight",
    "importance",
    "importance_squared",
    "weighted_ratio_squared",
    "weighted_deviation_squared",
    "weighted_kl",
    "sign_flips",
    "clipped",
    "entropy",
    "non_finite",
)
"""The rows of the tensor of sums; each is summed over response tokens.

In order: 1, w, the importance u = w r, u^2, w r^2, w (r - 1)^2, w (r - 1 - log r), [A (A - 2 lambda (r - 1)) < 0],
[clipping would apply], entropy, [log mu is not finite].
"""


@torch.no_grad()
def diagnostic_sums(
    output: LossOutput,
    *,
    entropy: Tensor | None = None,
    staleness: Tensor | None = None,
    max_staleness: int = 0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Tensor:
    """Sum every diagnostic over response tokens, one column per staleness, without waiting for the device.

    Args:
        output: What the objective returned for these rows.
        entropy: (B, T) nats per token; None counts as 0.
        staleness: (B,) long, policy versions between sampling and this round; None means 0.
        max_staleness: S; older rows are counted in the last column.
        clip_low: Lower offset of the clipping that `clip_fraction` assumes.
        clip_high: Upper offset.

    Returns:
        (Q, S + 1), rows in the order of `QUANTITIES`.

    Raises:
        ValueError: The staleness is not (B,), or max_staleness is negative.
    """
    ratios, A, dual = output.ratios, output.advantages, output.metrics.get("dual", 0.0)
    mask, r_minus_1 = ratios.response_mask, ratios.ratio_minus_1
    if max_staleness < 0:
        raise ValueError(f"max_staleness is {max_staleness}, but must be at least 0: pass the versions kept for replay")
    if staleness is not None and staleness.shape != mask.shape[:1]:
        raise ValueError(
            f"staleness has shape {tuple(staleness.shape)}, but must be {tuple(mask.shape[:1])}: give one for each row"
        )
    ones, w = mask.to(r_minus_1.dtype), ratios.weight()
    # Not r - 1 + 1, which is exactly 0 in float32 below -17 nats.
    r = ratios.log_ratio.exp()
    importance = w * r
    clipped = ((A > 0) & (r > 1 + clip_high)) | ((A < 0) & (r < 1 - clip_low))
    # Each is 0 on padding, whatever that holds.
    per_token = {
        "tokens": ones,
        "weight": w,
        "importance": importance,
        "importance_squared": importance.square(),
        "weighted_ratio_squared": importance * r,
        "weighted_deviation_squared": w * r_minus_1.square(),
        "weighted_kl": w * ratios.kl(),
        "sign_flips": mask & (A * (A - 2.0 * dual * r_minus_1) < 0),
        "clipped": mask & clipped,
        "entropy": torch.zeros_like(ones) if entropy is None else torch.where(mask, entropy, 0.0),
        "non_finite": ratios.non_finite,
    }
    rows = torch.stack([per_token[name].sum(dim=1, dtype=ones.dtype) for name in QUANTITIES])
    sums = rows.new_zeros(len(QUANTITIES), max_staleness + 1)
    if staleness is None:
        sums[:, 0] = rows.sum(dim=1)
        return sums
    return sums.index_add_(1, staleness.clamp(0, max_staleness).to(rows.device), rows)


def summarize(sums: Tensor) -> dict[str, float | list[float]]:
    """Convert the sums to diagnostics as numbers, which waits for the device that holds them.

    `ratio_variance`: V = sum w (r-1)^2 / sum w. `mean_ratio`: sum w r / sum w. `chi_square`: sum w r^2 / sum w - 1,
    which is V only when the mean ratio is 1. `kl`: KL(anchor || current), k3 estimate, nats per token.
    `effective_sample_size`: (sum u)^2 / (tokens sum u^2) with u = w r, in (0, 1]. `sign_flip_fraction`: share of tokens
    whose effective advantage A - 2 lambda (r - 1) has the opposite sign to A. `clip_fraction`: share that clipping
    would affect. `entropy`: nats per token. `mean_stale_weight`: sum w / tokens. `non_finite_log_probs`: tokens.
    `*_by_staleness`: a list over staleness 0 .. S.

    Args:
        sums: (Q, S + 1), results of `diagnostic_sums`, added up.

    Returns:
        Mapping of name to number, or to a list for `*_by_staleness`; 0 where there were no tokens.

    Raises:
        ValueError: The number of rows is wrong.
    """
    if sums.dim() != 2 or sums.shape[0] != len(QUANTITIES):
        raise ValueError(
            f"sums has shape {tuple(sums.shape)}, but must be ({len(QUANTITIES)}, S + 1): "
            "pass what diagnostic_sums gave"
        )
    table = torch.cat((sums, sums.sum(dim=1, keepdim=True)), dim=1).double().cpu().tolist()
    columns = [dict(zip(QUANTITIES, column, strict=True)) for column in zip(*table, strict=True)]
    whole, buckets = columns.pop(), columns
    tokens = whole["tokens"]
    return {
        "ratio_variance": _variance(whole),
        "mean_ratio": _divide(whole["importance"], whole["weight"]),
        "effective_sample_size": _effective_sample_size(whole),
        "chi_square": _divide(whole["weighted_ratio_squared"] - whole["weight"], whole["weight"]),
        "kl": _divide(whole["weighted_kl"], whole["weight"]),
        "sign_flip_fraction": _divide(whole["sign_flips"], tokens),
        "clip_fraction": _divide(whole["clipped"], tokens),
        "entropy": _divide(whole["entropy"], tokens),
        "mean_stale_weight": _divide(whole["weight"], tokens),
        "non_finite_log_probs": whole["non_finite"],
        "ratio_variance_by_staleness": [_variance(bucket) for bucket in buckets],
        "effective_sample_size_by_staleness": [_effective_sample_size(bucket) for bucket in buckets],
        "mean_stale_weight_by_staleness": [_divide(bucket["weight"], bucket["tokens"]) for bucket in buckets],
        "tokens_by_staleness": [bucket["tokens"] for bucket in buckets],
    }


def _divide(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _variance(sums: Mapping[str, float]) -> float:
    return _divide(sums["weighted_deviation_squared"], sums["weight"])


def _effective_sample_size(sums: Mapping[str, float]) -> float:
    return _divide(sums["importance"] ** 2, sums["tokens"] * sums["importance_squared"])

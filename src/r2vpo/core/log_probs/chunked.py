"""Log-probabilities of tokens from hidden states, one chunk of positions at a time.

The logits of a batch, (N, V), are by far the largest tensor of a training step. Here they exist for only one chunk at a
time, in the forward pass and, recomputed, in the backward pass. Plain autograd around a chunked loop would save
nothing, since it keeps every chunk for the backward pass; hence the ``torch.autograd.Function``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r2vpo.core.log_probs.values import TokenLogProbs

CPU_CHUNK_SIZE = 256
"""Positions per chunk on a CPU, measured by ``benchmarks/log_probs.py``: 64 take half as long again and 1,024 are
hardly faster, since each chunk adds to the whole weight gradient."""

ACCELERATOR_CHUNK_BYTES = 512 * 2**20
"""Bytes of float32 logits per chunk on an accelerator: large enough to keep its matrix units busy."""


def default_chunk_size(device: torch.device, vocabulary: int) -> int:
    """Choose the number of positions whose logits are held at once.

    On a CPU that is a fixed number; on an accelerator it is as many positions as fit in half a gibibyte of
    float32 logits (2,730 at a vocabulary of 49,152; 883 at 152,000).

    Args:
        device: where the logits are computed.
        vocabulary: number of tokens V.

    Returns:
        Positions per chunk, at least 16.
    """
    if device.type == "cpu":
        return CPU_CHUNK_SIZE
    return max(16, ACCELERATOR_CHUNK_BYTES // (4 * vocabulary))


def token_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    chunk_size: int | None = None,
) -> TokenLogProbs:
    r"""Compute log-probabilities of target tokens and entropies of their distributions.

    .. math:: \log p_n = z_{n,y_n} - \log \sum_v e^{z_{n,v}}, \qquad z_n = (W h_n + b) / \tau

    ``h`` is ``hidden``, ``W`` is ``weight``, ``b`` is ``bias``, ``y`` is ``targets``, ``tau`` is ``temperature``. The
    matrix product runs in the dtype of ``hidden``, or in that of autocast if it is on; everything after it runs in
    float32. A row's largest logit is subtracted first, so no log-probability is above 0.

    Args:
        hidden: (..., H) hidden states that predict the targets; gradient flows. Leave masked positions out.
        weight: (V, H) weight of the output layer; gradient flows, accumulated over chunks in float32.
        targets: (...) long, token ids in [0, V).
        bias: (V,) bias of the output layer, or None; gradient flows.
        temperature: divides the logits, dimensionless, above 0.
        chunk_size: positions whose logits are held at once, or None for ``default_chunk_size``.

    Returns:
        ``TokenLogProbs(log_probs, entropy)``, both of the shape of ``targets``; entropy carries no gradient.

    Raises:
        ValueError: shapes do not fit, a target is outside the vocabulary (checking this waits for an accelerator), or
            the temperature or the chunk size is not positive.
    """
    if targets.numel():
        low, high = torch.stack(torch.aminmax(targets)).tolist()
        check_targets(low, high, weight.shape[0])
    return checked_log_probs(hidden, weight, targets, bias=bias, temperature=temperature, chunk_size=chunk_size)


def checked_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    chunk_size: int | None = None,
) -> TokenLogProbs:
    """Do the same as ``token_log_probs`` without waiting for the device, for targets checked by ``check_targets``."""
    if hidden.shape[:-1] != targets.shape or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, targets {tuple(targets.shape)} and weight {tuple(weight.shape)} "
            "do not fit: pass hidden (..., H), targets (...) and weight (V, H)"
        )
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: pass a number above 0 (1.0 leaves the logits unchanged)")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}: pass a positive number of positions, or None")
    vocabulary = weight.shape[0]
    log_probs, entropy = _TokenLogProbs.apply(  # type: ignore[no-untyped-call]
        hidden.reshape(-1, hidden.shape[-1]),
        weight,
        bias,
        targets.reshape(-1),
        float(temperature),
        chunk_size or default_chunk_size(hidden.device, vocabulary),
    )
    return TokenLogProbs(log_probs.view(targets.shape), entropy.view(targets.shape))


def check_targets(low: int, high: int, vocabulary: int) -> None:
    """Reject ids outside the vocabulary; on an accelerator they would end the process without a useful error.

    Args:
        low: smallest id among the targets.
        high: largest id.
        vocabulary: number of tokens.

    Raises:
        ValueError: a target is outside the vocabulary.
    """
    if low < 0 or high >= vocabulary:
        raise ValueError(
            f"targets range from {low} to {high}, the vocabulary has {vocabulary} tokens: "
            "select the unmasked positions before the call, padding has no log-probability"
        )


def _matmul_dtype(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    if hidden.dtype != torch.float64 and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return hidden.dtype


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, dtype: torch.dtype) -> Tensor:
    """Compute the scaled logits of one chunk in ``dtype``; the caller may overwrite them."""
    logits = (hidden @ weight.t()).to(dtype)
    if bias is not None:
        logits += bias
    if temperature != 1.0:
        logits /= temperature
    return logits


class _TokenLogProbs(torch.autograd.Function):
    """Chunked log-softmax of a linear layer; the backward pass computes each chunk's logits again."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        temperature: float,
        chunk_size: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.matmul_dtype = _matmul_dtype(hidden)
        ctx.dtype = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        ctx.temperature, ctx.chunk_size = temperature, chunk_size
        log_probs = torch.empty(targets.shape, dtype=ctx.dtype, device=hidden.device)
        entropy, normalizer = torch.empty_like(log_probs), torch.empty_like(log_probs)
        with torch.autocast(hidden.device.type, enabled=False):
            cast_hidden, cast_weight = hidden.to(ctx.matmul_dtype), weight.to(ctx.matmul_dtype)
            for start in range(0, len(targets), chunk_size):
                rows = slice(start, start + chunk_size)
                logits = _logits(cast_hidden[rows], cast_weight, bias, temperature, ctx.dtype)
                peak = logits.amax(-1, keepdim=True)
                logits -= peak
                chosen = logits.gather(-1, targets[rows, None]).squeeze(-1)
                weights = logits.exp()
                total = weights.sum(-1)
                log_total = total.log()
                log_probs[rows] = chosen - log_total
                entropy[rows] = log_total - weights.mul_(logits).sum(-1) / total
                normalizer[rows] = peak.squeeze(-1) + log_total
        ctx.save_for_backward(hidden, weight, bias, targets, normalizer)
        ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normalizer = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight: Tensor | None = None
        grad_bias = torch.zeros_like(bias, dtype=ctx.dtype) if need_bias else None
        scale = -grad.to(ctx.dtype) / ctx.temperature
        with torch.autocast(hidden.device.type, enabled=False):
            cast_hidden, cast_weight = hidden.to(ctx.matmul_dtype), weight.to(ctx.matmul_dtype)
            for start in range(0, len(targets), ctx.chunk_size):
                rows = slice(start, start + ctx.chunk_size)
                logits = _logits(cast_hidden[rows], cast_weight, bias, ctx.temperature, ctx.dtype)
                # Overwritten in place: probabilities, then the gradient of the logits, (p - onehot) * -grad
                # / tau.
                probabilities = logits.sub_(normalizer[rows, None]).exp_()
                column = targets[rows, None]
                probabilities.scatter_add_(-1, column, probabilities.new_full((), -1.0).expand(column.shape))
                grad_logits = probabilities.mul_(scale[rows, None])
                if grad_bias is not None:
                    grad_bias += grad_logits.sum(0)
                grad_logits = grad_logits.to(ctx.matmul_dtype)
                if grad_hidden is not None:
                    grad_hidden[rows] = grad_logits @ cast_weight
                if need_weight:
                    grad_weight = _accumulated(grad_weight, grad_logits, cast_hidden[rows], ctx.dtype)
        return (
            grad_hidden,
            _weight_gradient(grad_weight, weight) if need_weight else None,
            None if grad_bias is None else grad_bias.to(bias.dtype),
            None,
            None,
            None,
        )


def _accumulated(total: Tensor | None, grad_logits: Tensor, hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute ``total + grad_logits^T hidden`` in ``dtype``, in place except for the first chunk."""
    if total is None:
        return (grad_logits.t() @ hidden).to(dtype)
    if total.dtype == hidden.dtype:
        return total.addmm_(grad_logits.t(), hidden)
    return total.add_(grad_logits.t() @ hidden)


def _weight_gradient(total: Tensor | None, weight: Tensor) -> Tensor:
    """Return the gradient in the weight's dtype; zeros if there was no position at all."""
    return torch.zeros_like(weight) if total is None else total.to(weight.dtype)

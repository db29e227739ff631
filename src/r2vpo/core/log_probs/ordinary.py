"""Log-probabilities of responses from the model's own forward pass, each row with its prompt.

Rows are laid out with their padding on the right, wherever it was before. A token's index is then its position, which
is what a causal model assumes if it is given no positions, and padding cannot affect any value that is needed, whether
through attention without position ids, a window, a recurrent state or a convolution. The logits are the model's own, so
they include whatever the model does to them after the output layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r2vpo.core.log_probs.batch import PrefixBatch
from r2vpo.core.log_probs.chunked import default_chunk_size
from r2vpo.core.log_probs.values import TokenLogProbs


class OrdinaryLogProbs(NamedTuple):
    """The result of the ordinary forward pass.

    Attributes:
        log_probs: (B, T) nats, float32 (float64 for float64 logits), with gradient; 0 where masked.
        entropy: (B, T) nats, same dtype, without gradient; 0 where masked.
        aux_loss: 0-d, the load-balancing loss of a mixture of experts, with gradient, not yet multiplied by its
            coefficient; None if it was not requested.
        values: as in ``TokenLogProbs``; None unless a critic has added them.
    """

    log_probs: Tensor
    entropy: Tensor
    aux_loss: Tensor | None = None
    values: Tensor | None = None


class RightPadded(NamedTuple):
    """Whole rows with their padding on the right.

    Attributes:
        ids: (B, L) long, prompt and response of each row, starting at its first token.
        mask: (B, L) bool, True up to the last token of the row that is needed.
        first: smallest index whose logits are needed.
        places: (B, U) long, the index in ``ids[:, first:]`` whose logits predict response token u; an arbitrary valid
            index where the token is masked.
    """

    ids: Tensor
    mask: Tensor
    first: int
    places: Tensor


def ordinary_log_probs(
    forward: Callable[..., Any],
    batch: PrefixBatch,
    *,
    temperature: float,
    aux_loss: bool = False,
    chunk_size: int | None = None,
) -> OrdinaryLogProbs:
    r"""Compute log-probabilities and entropies of the unmasked response tokens from the model's own logits.

    .. math:: \log p_{b,t} = \log \mathrm{softmax}(z_{b,t} / \tau)_{y_{b,t}}

    ``z`` are the model's logits given prompt b and the response before token t, ``y`` are the response's tokens, and
    ``tau`` is ``temperature``.

    Args:
        forward: a causal language model, or its ``forward``; called with ``input_ids``, with ``use_cache`` and
            ``logits_to_keep`` if its signature has them, and with ``attention_mask`` for the auxiliary loss; returns an
            object with ``logits``.
        batch: prompts and responses. Masked tokens before the last unmasked one are still attended to.
        temperature: divides the logits, dimensionless, above 0.
        aux_loss: request the model's router logits and return its ``aux_loss``.
        chunk_size: positions that are converted to float32 at once, or None for ``default_chunk_size``.

    Returns:
        ``OrdinaryLogProbs``, (B, T) like ``batch.response_ids``.

    Raises:
        ValueError: a prompt has no token, or the model lacks the requested auxiliary loss.
    """
    rows = right_padded(batch)
    options: dict[str, Any] = {"input_ids": rows.ids}
    named = inspect.signature(getattr(forward, "forward", forward)).parameters
    if "use_cache" in named:
        options["use_cache"] = False
    keeps = "logits_to_keep" in named
    if keeps:
        options["logits_to_keep"] = rows.ids.shape[1] - rows.first
    if aux_loss:
        # No needed value depends on the padding on the right, and transformers waits for the device to look into a
        # mask; but the router's loss is a mean over the tokens that are not padding.
        options |= {"output_router_logits": True, "attention_mask": rows.mask.long()}
    output = forward(**options)
    if aux_loss and getattr(output, "aux_loss", None) is None:
        raise ValueError("the model returned no aux_loss: request it only if output_router_logits provides one")
    used = rows.places.shape[1]
    values = logit_log_probs(
        output.logits,
        rows.places if keeps else rows.places + rows.first,
        batch.response_ids[:, :used],
        temperature=temperature,
        chunk_size=chunk_size,
    )
    mask = batch.response_mask.bool()
    rest = (0, mask.shape[1] - used)
    # A masked position is removed by selection, not by multiplication: nothing of it may reach the gradient.
    log_probs, entropy = (
        torch.where(mask, torch.nn.functional.pad(value, rest), torch.zeros((), dtype=value.dtype, device=value.device))
        for value in (values.log_probs, values.entropy)
    )
    return OrdinaryLogProbs(log_probs, entropy, output.aux_loss if aux_loss else None)


def right_padded(batch: PrefixBatch) -> RightPadded:
    """Lay out whole rows with their padding on the right, cut after the last token that is needed.

    Args:
        batch: prompts, left-padded, and responses.

    Returns:
        The rows; their padding is filled with the first token of the row.

    Raises:
        ValueError: a prompt has no token.
    """
    wanted = batch.response_mask.bool()
    layout = batch.layout
    prompt_ids = batch.prompt_ids.index_select(0, batch.group_index)
    prompt = batch.prompt_mask.long().sum(1).index_select(0, batch.group_index)
    columns = torch.arange(wanted.shape[1], device=wanted.device)
    response = (wanted * (columns + 1)).amax(1)
    lengths = [sum(pair) for pair in zip(layout.prompt_lengths, layout.reach, strict=True)]
    shortest, used = min(layout.prompt_lengths), layout.used
    # A row without needed tokens still has a prompt, and one more position that its index can point to.
    longest = max(*lengths, shortest + 1)
    index = torch.arange(longest, device=wanted.device).expand(len(prompt), -1)
    start = batch.prompt_ids.shape[1] - prompt
    source = start[:, None] + index
    mask = index < (prompt + response)[:, None]
    ids = torch.cat([prompt_ids, batch.response_ids], dim=1).gather(1, torch.where(mask, source, start[:, None]))
    first = shortest - 1
    places = (prompt[:, None] + columns[:used] - 1).clamp(max=longest - 1) - first
    return RightPadded(ids, mask, first, places)


def logit_log_probs(
    logits: Tensor, index: Tensor, targets: Tensor, *, temperature: float, chunk_size: int | None = None
) -> TokenLogProbs:
    """Compute log-probabilities of tokens and entropies from logits, without a second copy of the logits.

    Args:
        logits: (B, N, V); gradient flows, in their own dtype.
        index: (B, U) long, the index in N that predicts each target.
        targets: (B, U) long, token ids in [0, V).
        temperature: divides the logits, dimensionless, above 0.
        chunk_size: positions that are converted to float32 at once, or None for ``default_chunk_size``.

    Returns:
        ``TokenLogProbs``, (B, U) each.
    """
    rows = torch.arange(len(index), device=index.device)[:, None] * logits.shape[1]
    log_probs, entropy = _LogitLogProbs.apply(  # type: ignore[no-untyped-call]
        logits.reshape(-1, logits.shape[-1]),
        (rows + index).reshape(-1),
        targets.reshape(-1),
        float(temperature),
        chunk_size or default_chunk_size(logits.device, logits.shape[-1]),
    )
    return TokenLogProbs(log_probs.view(index.shape), entropy.view(index.shape))


class _LogitLogProbs(torch.autograd.Function):
    """Log-softmax at chosen positions, one chunk at a time in both the forward and the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, index: Tensor, targets: Tensor, temperature: float, chunk_size: int
    ) -> tuple[Tensor, Tensor]:
        ctx.dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        ctx.temperature, ctx.chunk_size = temperature, chunk_size
        log_probs = torch.empty(targets.shape, dtype=ctx.dtype, device=logits.device)
        entropy, normalizer = torch.empty_like(log_probs), torch.empty_like(log_probs)
        for start in range(0, len(targets), chunk_size):
            rows = slice(start, start + chunk_size)
            scaled = logits.index_select(0, index[rows]).to(ctx.dtype).div_(temperature)
            peak = scaled.amax(-1, keepdim=True)
            scaled -= peak
            chosen = scaled.gather(-1, targets[rows, None]).squeeze(-1)
            weights = scaled.exp()
            total = weights.sum(-1)
            log_total = total.log()
            log_probs[rows] = chosen - log_total
            # A logit of minus infinity has zero weight, and 0 * inf would be NaN.
            entropy[rows] = log_total - weights.mul_(scaled.clamp_(min=torch.finfo(ctx.dtype).min)).sum(-1) / total
            normalizer[rows] = peak.squeeze(-1) + log_total
        ctx.save_for_backward(logits, index, targets, normalizer)
        ctx.mark_non_differentiable(entropy)
        return log_probs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        logits, index, targets, normalizer = ctx.saved_tensors
        grad_logits = torch.zeros_like(logits)
        scale = -grad.to(ctx.dtype) / ctx.temperature
        for start in range(0, len(targets), ctx.chunk_size):
            rows = slice(start, start + ctx.chunk_size)
            scaled = logits.index_select(0, index[rows]).to(ctx.dtype).div_(ctx.temperature)
            # Overwritten in place: probabilities, then (p - onehot) * -grad / tau.
            probabilities = scaled.sub_(normalizer[rows, None]).exp_()
            column = targets[rows, None]
            probabilities.scatter_add_(-1, column, probabilities.new_full((), -1.0).expand(column.shape))
            # Added, since masked tokens, whose gradient is 0, may share an index with other tokens.
            grad_logits.index_add_(0, index[rows], probabilities.mul_(scale[rows, None]).to(logits.dtype))
        return grad_logits, None, None, None, None

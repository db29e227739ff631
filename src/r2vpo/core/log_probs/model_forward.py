"""Log-probabilities of a batch of responses through a whole causal language model.

The model is used only through its methods and configuration, so this module needs only torch.
"""

from __future__ import annotations

import functools
import inspect
import types
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.log_probs.batch import PrefixBatch
from r2vpo.core.log_probs.chunked import check_targets, checked_log_probs
from r2vpo.core.log_probs.float32_head import computes_in_float32
from r2vpo.core.log_probs.ordinary import ordinary_log_probs, right_padded
from r2vpo.core.log_probs.shared_prefix import shared_prefix_hidden_states
from r2vpo.core.log_probs.support import base_model, decoder_of
from r2vpo.core.log_probs.values import TokenLogProbs


def forward_log_probs(
    model: Any, batch: PrefixBatch, *, temperature: float, share_common: bool = True
) -> TokenLogProbs:
    """Compute log-probabilities and entropies of the unmasked response tokens, each prompt computed once.

    Only unmasked positions go through the output layer. Call it inside the module call of a wrapped model (see
    ``install``), because gradient synchronisation and sharding depend on that call.

    Args:
        model: a causal language model that ``supports_shared_prefix``.
        batch: prompts and responses, on the model's device.
        temperature: divides the logits, dimensionless, above 0.
        share_common: also compute the tokens that start every prompt only once, if that saves enough.

    Returns:
        (B, T) log-probabilities in nats with gradient and entropies without, float32, 0 at masked positions.

    Raises:
        ValueError: a prompt has no token, or an unmasked response id is outside the vocabulary.
    """
    base, used = base_model(model), batch.layout.used
    _check(base, batch)
    mask = batch.response_mask.bool()[:, :used]
    trimmed = replace(batch, response_ids=batch.response_ids[:, :used], response_mask=mask)
    hidden = shared_prefix_hidden_states(decoder_of(base), trimmed, share_common=share_common)
    return _through_head(base, hidden[batch.layout.rows, batch.layout.columns], batch, temperature)


def chunked_log_probs(model: Any, batch: PrefixBatch, *, temperature: float) -> TokenLogProbs:
    """Do the same as ``ordinary_log_probs`` without the whole batch's logits, applying the output layer in chunks.

    Args:
        model: a causal language model whose logits are those of its output layer, see ``reads_output_layer``.
        batch: prompts and responses, on the model's device.
        temperature: divides the logits, dimensionless, above 0.

    Returns:
        (B, T) log-probabilities in nats with gradient and entropies without, float32, 0 at masked positions.

    Raises:
        ValueError: a prompt has no token, or an unmasked response id is outside the vocabulary.
    """
    base = base_model(model)
    _check(base, batch)
    decoder, rows = decoder_of(base), right_padded(batch)
    options = {"use_cache": False} if "use_cache" in inspect.signature(type(decoder).forward).parameters else {}
    hidden = decoder(input_ids=rows.ids, **options).last_hidden_state
    row, column = batch.layout.rows, batch.layout.columns
    return _through_head(base, hidden[row, rows.places[row, column] + rows.first], batch, temperature)


def _check(base: Any, batch: PrefixBatch) -> None:
    """Reject ids outside the vocabulary before they reach the device."""
    if batch.layout.targets is not None:
        check_targets(*batch.layout.targets, base.get_output_embeddings().weight.shape[0])


def _through_head(base: Any, hidden: Tensor, batch: PrefixBatch, temperature: float) -> TokenLogProbs:
    """Compute (B, T) values from the (N, H) hidden states of the unmasked positions."""
    head, rows, columns = base.get_output_embeddings(), batch.layout.rows, batch.layout.columns
    lowered = torch.is_autocast_enabled(hidden.device.type)
    if computes_in_float32(head):
        hidden, lowered = hidden.float(), False
    with torch.autocast(hidden.device.type, enabled=lowered):
        values = checked_log_probs(
            hidden, head.weight, batch.response_ids[rows, columns], bias=head.bias, temperature=temperature
        )
    empty = values.log_probs.new_zeros(batch.response_mask.shape)
    return TokenLogProbs(
        empty.index_put((rows, columns), values.log_probs), empty.index_put((rows, columns), values.entropy)
    )


def install(model: Any) -> None:
    """Make ``model(prefix_batch=batch, temperature=t)`` return log-probabilities; other calls do not change.

    With ``shared=True`` the call runs ``forward_log_probs``; with ``shared=False`` it runs ``ordinary_log_probs``,
    which also takes ``aux_loss``, or with ``chunked=True`` ``chunked_log_probs``. DDP, FSDP and autocast act on a
    module's call, so the work has to happen within it. The instance's ``forward`` is replaced by a method bound to the
    instance: a deep copy has one bound to the copy, and a pickled model is loaded without it. The signature remains
    that of the class, since generation reads it. Installing twice changes nothing.

    Args:
        model: a causal language model, or a PEFT wrapper of one, which passes keyword arguments on to the model.
    """
    base = base_model(model)
    if getattr(getattr(base.__dict__.get("forward"), "__func__", None), "_r2vpo_prefix_forward", False):
        return
    # Other code may already have replaced this instance's forward; that replacement remains in use.
    base.__dict__["_forward_without_prefix"] = base.__dict__.get("forward")

    @functools.wraps(type(base).forward)
    def forward(
        self: Any,
        *args: Any,
        prefix_batch: PrefixBatch | None = None,
        temperature: float = 1.0,
        shared: bool = True,
        aux_loss: bool = False,
        chunked: bool = False,
        **kwargs: Any,
    ) -> Any:
        if prefix_batch is not None and shared:
            return forward_log_probs(self, prefix_batch, temperature=temperature)
        if prefix_batch is not None and chunked:
            return chunked_log_probs(self, prefix_batch, temperature=temperature)
        former = self.__dict__.get("_forward_without_prefix") or types.MethodType(type(self).forward, self)
        if prefix_batch is not None:
            return ordinary_log_probs(former, prefix_batch, temperature=temperature, aux_loss=aux_loss)
        return former(*args, **kwargs)

    forward._r2vpo_prefix_forward = True  # type: ignore[attr-defined]
    base.forward = types.MethodType(forward, base)
    for module in model.modules():
        # PEFT's adaption prompt keeps the model's forward in a wrapper module.
        if module is not base and getattr(module.__dict__.get("forward"), "__self__", None) is base:
            module.forward = base.forward  # type: ignore[union-attr]

"""Log-probabilities of a batch of responses through a whole causal language model.

The model is used only through its methods and configuration, so this module needs only torch.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from r2vpo.core.log_probs.batch import PrefixBatch
from r2vpo.core.log_probs.chunked import check_targets, checked_log_probs
from r2vpo.core.log_probs.float32_head import computes_in_float32
from r2vpo.core.log_probs.ordinary import RightPadded, ordinary_log_probs, right_padded
from r2vpo.core.log_probs.shared_prefix import shared_prefix_hidden_states
from r2vpo.core.log_probs.support import base_model, decoder_of
from r2vpo.core.log_probs.values import TokenLogProbs


class TokenStates(NamedTuple):
    """Log-probabilities with the hidden states that they are computed from, for a head that reads the states too.

    Attributes:
        log_probs: (B, T) nats, as in ``TokenLogProbs``.
        entropy: (B, T) nats, as in ``TokenLogProbs``.
        hidden: (N, H) states that predict the unmasked tokens, in the order of ``batch.layout.rows`` and ``columns``,
            in the decoder's dtype, with gradient.
        aux_loss: 0-d, as in ``OrdinaryLogProbs``; None if it was not requested.
    """

    log_probs: Tensor
    entropy: Tensor
    hidden: Tensor
    aux_loss: Tensor | None = None


def response_states(decoder: Any, batch: PrefixBatch, *, shared: bool, share_common: bool = True) -> Tensor:
    """Compute the hidden states that predict the unmasked response tokens.

    Args:
        decoder: a transformer without its output layer, see ``decoder_of``.
        batch: prompts and responses, on its device.
        shared: compute each prompt once, if the model ``supports_shared_prefix``; otherwise each row with its prompt.
        share_common: with ``shared``, compute the tokens that start every prompt only once, if that saves enough.

    Returns:
        (N, H) in the decoder's dtype, in the order of ``batch.layout.rows`` and ``columns``, with gradient.

    Raises:
        ValueError: a prompt has no token.
    """
    if not shared:
        options = {"use_cache": False} if "use_cache" in inspect.signature(type(decoder).forward).parameters else {}
        rows = right_padded(batch)
        return _chosen(decoder(input_ids=rows.ids, **options).last_hidden_state, rows, batch)
    used = batch.layout.used
    mask = batch.response_mask.bool()[:, :used]
    trimmed = replace(batch, response_ids=batch.response_ids[:, :used], response_mask=mask)
    hidden = shared_prefix_hidden_states(decoder, trimmed, share_common=share_common)
    return hidden[batch.layout.rows, batch.layout.columns]


def _chosen(hidden: Tensor, rows: RightPadded, batch: PrefixBatch) -> Tensor:
    """Select the states that predict the unmasked tokens from those of whole rows."""
    row, column = batch.layout.rows, batch.layout.columns
    return hidden[row, rows.places[row, column] + rows.first]


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
    found = token_states(model, batch, temperature=temperature, shared=True, share_common=share_common)
    return TokenLogProbs(found.log_probs, found.entropy)


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
    found = token_states(model, batch, temperature=temperature, shared=False)
    return TokenLogProbs(found.log_probs, found.entropy)


def token_states(
    model: Any, batch: PrefixBatch, *, temperature: float, shared: bool, share_common: bool = True
) -> TokenStates:
    """Do what ``forward_log_probs`` does with ``shared``, otherwise ``chunked_log_probs``, and return the states too.

    Args:
        model: as there.
        batch: prompts and responses, on the model's device.
        temperature: divides the logits, dimensionless, above 0.
        shared: whether each prompt is computed once.
        share_common: as in ``forward_log_probs``.

    Raises:
        ValueError: a prompt has no token, or an unmasked response id is outside the vocabulary.
    """
    base = base_model(model)
    if batch.layout.targets is not None:
        check_targets(*batch.layout.targets, base.get_output_embeddings().weight.shape[0])
    hidden = response_states(decoder_of(base), batch, shared=shared, share_common=share_common)
    found = _through_head(base, hidden, batch, temperature)
    return TokenStates(found.log_probs, found.entropy, hidden)


def _ordinary_states(base: Any, forward: Any, batch: PrefixBatch, *, temperature: float, aux_loss: bool) -> TokenStates:
    """Do the same as ``ordinary_log_probs``, and return the hidden states that the model's decoder returned on the way.

    Raises:
        ValueError: the model does not call a decoder once for whole rows.
    """
    with _outputs_of(decoder_of(base)) as outputs:
        found = ordinary_log_probs(forward, batch, temperature=temperature, aux_loss=aux_loss)
    rows = right_padded(batch)
    states = [getattr(output, "last_hidden_state", None) for output in outputs]
    if len(states) != 1 or not isinstance(states[0], Tensor) or states[0].shape[:2] != rows.ids.shape:
        raise ValueError("its forward does not call its decoder once, from which the hidden states would be taken")
    return TokenStates(found.log_probs, found.entropy, _chosen(states[0], rows, batch), found.aux_loss)


@contextmanager
def _outputs_of(module: Any) -> Iterator[list[Any]]:
    """Collect what a module returns inside."""
    outputs: list[Any] = []
    handle = module.register_forward_hook(lambda module, given, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


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
    which also takes ``aux_loss``, or with ``chunked=True`` ``chunked_log_probs``. With ``states=True`` each of them
    returns ``TokenStates``. DDP, FSDP and autocast act on a module's call, so the work has to happen within it. The
    instance's ``forward`` is replaced by a method bound to the instance: a deep copy has one bound to the copy, and a
    pickled model is loaded without it. The signature remains that of the class, since generation reads it. Installing
    twice changes nothing.

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
        states: bool = False,
        **kwargs: Any,
    ) -> Any:
        if prefix_batch is not None and (shared or chunked):
            found = token_states(self, prefix_batch, temperature=temperature, shared=shared)
            return found if states else TokenLogProbs(found.log_probs, found.entropy)
        former = self.__dict__.get("_forward_without_prefix") or types.MethodType(type(self).forward, self)
        if prefix_batch is not None and states:
            return _ordinary_states(self, former, prefix_batch, temperature=temperature, aux_loss=aux_loss)
        if prefix_batch is not None:
            return ordinary_log_probs(former, prefix_batch, temperature=temperature, aux_loss=aux_loss)
        return former(*args, **kwargs)

    forward._r2vpo_prefix_forward = True  # type: ignore[attr-defined]
    base.forward = types.MethodType(forward, base)
    for module in model.modules():
        # PEFT's adaption prompt keeps the model's forward in a wrapper module.
        if module is not base and getattr(module.__dict__.get("forward"), "__self__", None) is base:
            module.forward = base.forward  # type: ignore[union-attr]

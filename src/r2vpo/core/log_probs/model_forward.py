"""Log-probabilities of a batch of responses through a whole causal language model.

The model is used by its methods and configuration alone, so that this part needs nothing but torch.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import torch
from torch import Tensor, nn

from r2vpo.core.log_probs.chunked import TokenLogProbs, token_log_probs
from r2vpo.core.log_probs.ordinary import ordinary_log_probs
from r2vpo.core.log_probs.shared_prefix import PrefixBatch, shared_prefix_hidden_states

_LOGIT_OPTIONS = {
    "final_logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "lm_head_multiplier": 1.0,
    "output_multiplier": 1.0,
}
"""Options that change the logits behind the output layer, and the value that leaves them alone."""


def supports_shared_prefix(model: Any) -> str | None:
    """Tell whether prompts can be computed once a group with this model.

    Args:
        model: a causal language model, wrapped by PEFT or not.

    Returns:
        None if so, otherwise the reason why not, as half a sentence that follows the model's name.
    """
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return "has a PEFT method that learns prompts, which are inserted outside the model that is called here"
    base = _base_model(model)
    config = getattr(base, "config", None)
    if config is None:
        return "has no configuration to tell its architecture from"
    if getattr(config, "is_encoder_decoder", False):
        return "is an encoder-decoder, its responses are not a continuation of its prompts"
    text_config = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    return _layer_reason(text_config) or _logit_reason(text_config) or _module_reason(base)


def _layer_reason(config: Any) -> str | None:
    layer_types = set(getattr(config, "layer_types", None) or ())
    other = ", ".join(sorted(layer_types - {"full_attention"}))
    if other:
        return f"has layers of type {other}, whose cache cannot be expanded"
    sliding = getattr(config, "sliding_window", None)
    if not layer_types and sliding is not None and getattr(config, "use_sliding_window", True):
        return f"has a sliding window of {sliding} tokens, whose cache drops the start of a prompt"
    for name in (
        "layers_block_type",
        "block_types",
        "mamba_d_state",
        "ssm_cfg",
        "linear_num_key_heads",
        "rwkv",
    ):
        if getattr(config, name, None):
            return f"has recurrent layers ({name} is set), whose state cannot be expanded as keys and values can"
    return None


def _logit_reason(config: Any) -> str | None:
    for name, neutral in _LOGIT_OPTIONS.items():
        value = getattr(config, name, None)
        if value is not None and value != neutral:
            return f"changes its logits behind the output layer ({name}={value})"
    return None


def _module_reason(base: Any) -> str | None:
    if base.training and any(getattr(module, "gradient_checkpointing", False) for module in base.modules()):
        return "has gradient checkpointing on, which turns the cache off in training: turn it off"
    if "position_ids" not in inspect.signature(type(_decoder(base)).forward).parameters:
        return "takes no position_ids, so the place of a token after a padded prompt cannot be told to it"
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    plain = isinstance(head, nn.Linear) and head.weight.is_floating_point()
    if not plain:
        return f"has an output layer of type {type(head).__name__}, not a plain linear layer"
    return None


def forward_log_probs(model: Any, batch: PrefixBatch, *, temperature: float) -> TokenLogProbs:
    """Log-probabilities and entropies of the unmasked response tokens, each prompt computed once.

    Only unmasked positions go through the output layer. Call it inside the module call of a wrapped model,
    see ``install``: gradient synchronisation and sharding hang on that call.

    Args:
        model: a causal language model that ``supports_shared_prefix``.
        batch: prompts and responses, on the model's device.
        temperature: divides the logits, dimensionless, above 0.

    Returns:
        (B, T) log-probabilities in nats with gradient and entropies without, float32, 0 at masked positions.

    Raises:
        ValueError: a prompt without a token, or an unmasked response id outside the vocabulary.
    """
    base = _base_model(model)
    head = base.get_output_embeddings()
    mask = batch.response_mask.bool()
    used = _used_columns(mask)
    trimmed = PrefixBatch(
        batch.prompt_ids, batch.prompt_mask, batch.group_index, batch.response_ids[:, :used], mask[:, :used]
    )
    hidden = shared_prefix_hidden_states(_decoder(base), trimmed)
    rows, columns = trimmed.response_mask.nonzero(as_tuple=True)
    values = token_log_probs(
        hidden[rows, columns],
        head.weight,
        trimmed.response_ids[rows, columns],
        bias=head.bias,
        temperature=temperature,
    )
    empty = values.log_probs.new_zeros(mask.shape)
    return TokenLogProbs(
        empty.index_put((rows, columns), values.log_probs), empty.index_put((rows, columns), values.entropy)
    )


def _used_columns(mask: Tensor) -> int:
    """Columns up to the last unmasked token of any row, at least one: the others need not be computed."""
    columns = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return max(1, int((mask.any(0) * columns).amax()))


def _base_model(model: Any) -> Any:
    """The model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _decoder(base: Any) -> Any:
    for name in ("get_decoder", "model", "base_model"):
        found = getattr(base, name, None)
        if found is not None:
            return found() if name == "get_decoder" else found
    raise ValueError(f"{type(base).__name__} has no get_decoder(), model or base_model: pass a causal language model")


def install(model: Any) -> None:
    """Let ``model(prefix_batch=batch, temperature=t)`` give log-probabilities; other calls stay.

    With ``shared=True`` the call runs ``forward_log_probs``, with ``shared=False`` ``ordinary_log_probs``, which takes
    ``aux_loss`` too. DDP, FSDP and autocast act on a module's call, so the work has to happen within it. The instance's
    ``forward`` is replaced by a method bound to the instance: a deep copy has one bound to the copy, a
    pickled model is loaded without it. The signature stays that of the class, since generation reads it.
    Installing twice changes nothing.

    Args:
        model: a causal language model, or a PEFT wrapper of one, which passes keyword arguments on to it.
    """
    base = _base_model(model)
    if getattr(getattr(base.__dict__.get("forward"), "__func__", None), "_r2vpo_prefix_forward", False):
        return
    # Something else may have replaced this instance's forward before; that one stays in use.
    base.__dict__["_forward_without_prefix"] = base.__dict__.get("forward")

    @functools.wraps(type(base).forward)
    def forward(
        self: Any,
        *args: Any,
        prefix_batch: PrefixBatch | None = None,
        temperature: float = 1.0,
        shared: bool = True,
        aux_loss: bool = False,
        **kwargs: Any,
    ) -> Any:
        if prefix_batch is not None and shared:
            return forward_log_probs(self, prefix_batch, temperature=temperature)
        former = self.__dict__.get("_forward_without_prefix") or types.MethodType(type(self).forward, self)
        if prefix_batch is not None:
            return ordinary_log_probs(former, prefix_batch, temperature=temperature, aux_loss=aux_loss)
        return former(*args, **kwargs)

    forward._r2vpo_prefix_forward = True  # type: ignore[attr-defined]
    base.forward = types.MethodType(forward, base)

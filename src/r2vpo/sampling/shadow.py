"""A copy of the policy in a faster precision, for sampling.

Sampling reads every weight for every token, so half the bytes take nearly half the time; adapters merged into the
weights cost nothing extra. The trained policy is never written to, so merging and unmerging an adapter cannot leave
rounding in it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn


class ShadowModel:
    """A gradient-free copy of a causal language model, brought up to date by ``sync``.

    PEFT adapters are merged into the copy, which is a plain model. Tied weights are also tied in the copy. Changes of
    the policy's weights appear in the copy only after the next ``sync``.

    Args:
        model: the policy, wrapped by PEFT or not, not by a distributed wrapper.
        dtype: dtype of the copy's weights, or ``"model"`` for no copy at all: ``self.model`` is then the policy.

    Raises:
        ValueError: the policy's weights are quantised or sharded over processes.
    """

    def __init__(self, model: Any, dtype: torch.dtype | Literal["model"] = torch.bfloat16):
        self._source = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._is_copy = dtype != "model"
        if not self._is_copy:
            self.model = self._source
            return
        quantised = quantised_weight(self._source)
        if quantised is not None:
            raise ValueError(f'{quantised} is quantised and cannot be copied: sample with dtype "model"')
        self.model = _copy(self._source, dtype)
        self.sync()

    def sync(self) -> None:
        """Copy the policy's present weights, with adapters merged, into the copy in place."""
        if not self._is_copy:
            return
        with torch.no_grad():
            for name, target, source in _weights(self.model, self._source):
                if target.shape != source.shape:
                    raise ValueError(
                        f"{name} is {tuple(source.shape)} in the model, {tuple(target.shape)} in its copy: "
                        'sharded weights cannot be copied, sample with dtype "model" or with vLLM'
                    )
                target.copy_(source)


def _copy(source: Any, dtype: Any) -> Any:
    """Make a copy with weights in ``dtype`` and without adapters; ``sync`` fills in the values."""
    # Parameters are passed to deepcopy as already copied, so there is never a second copy in the source's precision,
    # and a parameter that two modules share stays shared.
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, dtype=dtype), requires_grad=False)
        for parameter in source.parameters()
    }
    shadow = copy.deepcopy(source, memo)
    for path, module in list(shadow.named_modules()):
        plain = _plain(module)
        if plain is module or not path:
            continue
        if _is_adapter(module):
            # Its merged weight differs from that of the layer it was tied to.
            for name, parameter in list(plain.named_parameters(recurse=False)):
                setattr(plain, name, nn.Parameter(torch.empty_like(parameter), requires_grad=False))
            if _adds_bias(module):
                plain.bias = nn.Parameter(plain.weight.new_empty(plain.out_features), requires_grad=False)
        parent, _, name = path.rpartition(".")
        setattr(shadow.get_submodule(parent), name, plain)
    return shadow.eval()


def _weights(shadow: Any, source: Any) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Yield name, tensor of the copy and its new value, for every distinct parameter of the copy."""
    seen: set[int] = set()
    for path, module in shadow.named_modules():
        parameters = [
            (name, parameter)
            for name, parameter in module.named_parameters(recurse=False)
            if id(parameter) not in seen and not seen.add(id(parameter))  # type: ignore[func-returns-value]  # None
        ]
        if not parameters:
            continue
        values = _merged(_find(source, path))
        for name, parameter in parameters:
            value = getattr(values, name)
            # A bias that the adapter adds is None while the adapter is off.
            yield f"{path}.{name}", parameter, torch.zeros_like(parameter) if value is None else value


def _find(source: Any, path: str) -> Any:
    """Return the source's module at a path of the copy, which has no wrappers; the last step is not unwrapped."""
    module = source
    for name in path.split(".") if path else ():
        module = getattr(_plain(module), name)
    return module


def _is_adapter(module: Any) -> bool:
    return hasattr(module, "base_layer") and hasattr(module, "merge")


def _adds_bias(adapter: Any) -> bool:
    """Tell whether a layer without a bias gets one from its adapter (PEFT's `lora_bias`)."""
    added = any(getattr(adapter, "lora_bias", {}).values())
    return added and isinstance(adapter.base_layer, nn.Linear) and adapter.base_layer.bias is None


def _plain(module: Any) -> Any:
    """Return the copy's counterpart of a source module: without an adapter, or the trained version of a saved one."""
    if _is_adapter(module):
        return module.base_layer
    saved = getattr(module, "modules_to_save", None)
    if isinstance(saved, nn.ModuleDict):
        active = [name for name in module.active_adapters if name in saved]
        return saved[active[0]] if active else module.original_module
    return module


def _merged(module: Any) -> Any:
    """Return a module with the effective plain weights of the source's module; the source is not written to."""
    if not _is_adapter(module):
        return _plain(module)
    if module.disable_adapters:
        return module.base_layer
    # One layer is copied at a time: merging in place and unmerging would leave rounding in the policy's weights.
    merged = copy.deepcopy(module)
    if _adds_bias(merged):
        # PEFT merges a bias only into an existing one.
        layer = merged.base_layer
        layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features), requires_grad=False)
    merged.merge()
    return merged.base_layer


def quantised_weight(source: nn.Module) -> str | None:
    """Return the name of a quantised weight, which cannot be copied in another dtype, or None.

    Args:
        source: a model, not wrapped by PEFT.
    """
    if getattr(source, "is_quantized", False):
        # Some methods keep their weights in buffers, or under tensors that look like floating-point ones.
        method = getattr(getattr(source.config, "quantization_config", None), "quant_method", "by its own account")
        return f"the model ({getattr(method, 'value', method)})"
    for name, parameter in source.named_parameters():
        if not parameter.is_floating_point() or hasattr(parameter, "quant_state"):
            return name
    return None

"""The tokens with which a model ends its answers, without those that a training added."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from r2vpo.errors import UserError
from r2vpo.models.catalog import resolve_model
from r2vpo.models.fit import stop_ids


def own_ends(base: str, tokenizer: Any, *, seed: int, declared: Sequence[int], stop: Sequence[str]) -> list[int]:
    """Return the ids that end an answer of a model, as it was before training.

    Args:
        base: the model before training: any name that `resolve_model` takes.
        tokenizer: its tokenizer.
        seed: seed of a base that is made from a seed.
        declared: the ids that the trained model declares; used, without those of `stop`, if `base` is gone.
        stop: texts that ended the completions in training.
    """
    from transformers import AutoConfig, GenerationConfig

    before: Any
    try:
        source = resolve_model(base, seed=seed)
        try:
            before = GenerationConfig.from_pretrained(source)
        except OSError:
            before = GenerationConfig.from_model_config(AutoConfig.from_pretrained(source))
    except (UserError, OSError, ValueError):
        trained = {token for text in stop for token in tokenizer.encode(text, add_special_tokens=False)}
        before = SimpleNamespace(eos_token_id=[token for token in declared if token not in trained])
    return stop_ids(tokenizer, (), SimpleNamespace(generation_config=before))

"""The tokens with which a trained model ends its answers, without those that only its training added."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from r2vpo.errors import UserError
from r2vpo.models.fit import stop_ids
from r2vpo.models.load import load_ends


def own_ends(
    base: str,
    tokenizer: Any,
    *,
    seed: int,
    trust_remote_code: bool,
    chats: bool,
    declared: Sequence[int],
    stop: Sequence[str],
) -> list[int]:
    """Return the ids that end an answer of a trained model outside its training.

    These are the ids of the model that it was made from, also if they were named as stop texts in training; and the one
    with which the chat template ends an answer, if the model was trained on chats.

    Args:
        base: the model before training: any name that `resolve_model` takes.
        tokenizer: its tokenizer.
        seed: seed of a base that is made from a seed.
        trust_remote_code: run Python code that comes with the base.
        chats: whether the model was trained on chats.
        declared: the ids that the trained model declares; used, without those of `stop`, if `base` is gone.
        stop: texts that ended the completions in training.
    """
    try:
        ids = load_ends(base, tokenizer, seed=seed, trust_remote_code=trust_remote_code)
    except UserError:
        trained = {token for text in stop for token in tokenizer.encode(text, add_special_tokens=False)}
        ids = [token for token in declared if token not in trained]
    return stop_ids(tokenizer, (), SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ids)), chats=chats)

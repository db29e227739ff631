"""The tokenizer of rollouts that another run has stored, if it is here and still the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from r2vpo.errors import UserError
from r2vpo.models.fingerprint import tokenizer_fingerprint
from r2vpo.models.load import load_tokenizer


def tokenizer_of(model: str, fingerprint: str) -> tuple[Any, str | None]:
    """Return the tokenizer with which token ids were written, and why not if there is none.

    Args:
        model: The name of the run's model.
        fingerprint: Of the run's tokenizer.
    """
    try:
        tokenizer = load_tokenizer(model)
    except UserError as error:
        return None, str(error)
    if tokenizer_fingerprint(tokenizer) != fingerprint:
        return None, f"the tokenizer of {model} is another one than when these rollouts were sampled"
    return tokenizer, None


def decoder_of(tokenizer: Any) -> Callable[[Any], str]:
    """Return a function from the token ids of a prompt to its text, with a line break for each special token.

    Args:
        tokenizer: One of transformers'.
    """
    names = sorted(map(re.escape, tokenizer.get_added_vocab()), key=len, reverse=True)
    special = re.compile("|".join(names) or "(?!)")
    return lambda ids: special.sub("\n", tokenizer.decode(ids, skip_special_tokens=False))

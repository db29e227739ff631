"""Loading a model or its tokenizer by any name, with one clear line when that fails."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError

from r2vpo.errors import UserError
from r2vpo.models.catalog import missing_model, resolve_model


def load_model(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """Load a causal language model.

    Args:
        name: any name that `resolve_model` takes.
        seed: of a model that is made from a seed, such as `habit/llama`; the others ignore it.
        dtype: type of the weights.
        options: passed on to `AutoModelForCausalLM.from_pretrained`.

    Returns:
        The model.

    Raises:
        UserError: when there is no such model or it cannot be read.
    """
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, name, seed, dtype=dtype, **options)


def load_tokenizer(name: str, *, seed: int = 0, trust_remote_code: bool = False) -> Any:
    """Load a model's tokenizer, padding on the left and with a padding token.

    Args:
        name: any name that `resolve_model` takes.
        seed: that of the model, so that no other one is made for its tokenizer.
        trust_remote_code: run Python code that comes with it.

    Returns:
        The tokenizer.

    Raises:
        UserError: when there is none or it cannot be read.
    """
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer, name, seed, padding_side="left", trust_remote_code=trust_remote_code)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def code_not_trusted(name: str, source: str) -> UserError:
    """Return the error for a model that brings Python code which nobody has allowed to run.

    Args:
        name: what the user wrote.
        source: the folder or hub name that it stands for.
    """
    return UserError(
        f"model.name {name!r}: {source} comes with Python code of its own: read it, and set "
        "model.trust_remote_code=true to run it"
    )


def _load(kind: Any, name: str, seed: int, **options: Any) -> Any:
    source = resolve_model(name, seed=seed)
    try:
        return kind.from_pretrained(source, **options)
    except OSError as error:
        first_line = str(error).strip().splitlines()[0]
        looked_for = f"cannot load it ({first_line})"
        raise missing_model(name, looked_for) from error
    except (ValueError, KeyError, SafetensorError) as error:
        if "trust_remote_code" in str(error):
            raise code_not_trusted(name, source) from error
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"model.name {name!r}: what lies in {source} is no causal language model that transformers can "
            f"read ({first_line}): save it with save_pretrained"
        ) from error

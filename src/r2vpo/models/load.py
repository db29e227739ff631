"""Loading of a model or its tokenizer by any name, with a one-line error if that fails."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from r2vpo.environment import HUB_OFFLINE
from r2vpo.errors import UserError
from r2vpo.hub import why_offline
from r2vpo.models.cache import cache_root
from r2vpo.models.catalog import missing_model, resolve_model, suggestion
from r2vpo.weights import UNREADABLE, first_line, read_weights

SAMPLING_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


def load_model(
    name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, trust_remote_code: bool = False, **options: Any
) -> Any:
    """Load a causal language model.

    Args:
        name: any name that `resolve_model` takes.
        seed: seed of a model that is made from a seed, such as `habit/llama`; the others ignore it.
        dtype: dtype of the weights.
        trust_remote_code: run Python code that comes with the model, without asking.
        options: passed on to `AutoModelForCausalLM.from_pretrained`.

    Returns:
        The model.

    Raises:
        UserError: the model does not exist, cannot be read, or its files lack some of its weights.
    """
    from transformers import AutoModelForCausalLM

    def read(source: str) -> Any:
        return read_weights(
            AutoModelForCausalLM.from_pretrained,
            source,
            what=f"model.name {name!r}",
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            **options,
        )

    return _load(read, name, seed, part="model")


def load_tokenizer(name: str, *, seed: int = 0, trust_remote_code: bool = False) -> Any:
    """Load a model's tokenizer, with padding on the left and a padding token.

    Args:
        name: any name that `resolve_model` takes.
        seed: seed of the model, so that no other model is built for its tokenizer.
        trust_remote_code: run Python code that comes with it.

    Returns:
        The tokenizer.

    Raises:
        UserError: the tokenizer does not exist or cannot be read.
    """
    from transformers import AutoTokenizer

    def read(source: str) -> Any:
        return AutoTokenizer.from_pretrained(source, padding_side="left", trust_remote_code=trust_remote_code)

    tokenizer = _load(read, name, seed, part="tokenizer")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_ends(name: str, tokenizer: Any, *, seed: int = 0, trust_remote_code: bool = False) -> list[int]:
    """Read the ids that end a model's completions from its settings, without loading its weights.

    Args:
        name: any name that `resolve_model` takes.
        tokenizer: its tokenizer, whose end-of-sequence token also counts.
        seed: seed of the model.
        trust_remote_code: run Python code that comes with it.

    Raises:
        UserError: there is no such model, or its settings cannot be read.
    """
    from transformers import AutoConfig, GenerationConfig

    def read(source: str) -> Any:
        try:
            return GenerationConfig.from_pretrained(source).eos_token_id
        except OSError:  # it has no such file
            config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
            return config.get_text_config().eos_token_id

    declared = _load(read, name, seed, part="model")
    ids = declared if isinstance(declared, list) else [declared]
    return [number for number in (*ids, tokenizer.eos_token_id) if number is not None]


def load_sampling_defaults(name: str) -> dict[str, Any]:
    """Read the sampling parameters that servers take from a model's generation_config.json.

    Args:
        name: any name that `resolve_model` takes.

    Returns:
        Those of `SAMPLING_DEFAULTS` that the file sets; none if there is no such file.
    """
    from transformers import GenerationConfig

    def read(source: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = GenerationConfig.from_pretrained(source).to_diff_dict()
        except OSError:  # it has no such file
            return {}
        return {key: found[key] for key in SAMPLING_DEFAULTS if found.get(key) is not None}

    values: dict[str, Any] = _load(read, name, 0, part="model")
    return values


def code_not_trusted(name: str, source: str) -> UserError:
    """Return the error for a model with Python code that the user has not allowed to run.

    Args:
        name: what the user wrote.
        source: the folder or hub name to which it resolves.
    """
    return UserError(
        f"model.name {name!r}: {source} comes with its own Python code: read it, and set "
        "model.trust_remote_code=true to run it"
    )


def not_in_the_cache(name: str, offline: str) -> UserError:
    """Return the error for a model of the hub that the hub's cache does not have.

    Args:
        name: what the user wrote.
        offline: why the hub is not asked.
    """
    remedy = "unset it" if HUB_OFFLINE.name in offline else "connect to the network"
    return UserError(
        f"model.name {name!r}: {offline}, and the model is not in the hub's cache: {remedy}, or name a folder that "
        f"save_pretrained wrote, or a model that `r2vpo models` lists{suggestion(name)}"
    )


def _load(read: Callable[[str], Any], name: str, seed: int, *, part: str) -> Any:
    source = resolve_model(name, seed=seed)
    offline = None if Path(source).is_dir() else why_offline()
    try:
        return read(source)
    except OSError as error:
        if offline is not None:
            raise not_in_the_cache(name, offline) from error
        raise _unreadable(name, source, error) from error
    except UserError:
        raise
    except UNREADABLE as error:
        if "trust_remote_code" in str(error):
            raise code_not_trusted(name, source) from error
        raise UserError(f"model.name {name!r}: {_reason(source, error, part)}") from error


def _reason(source: str, error: Exception, part: str) -> str:
    """Say why a folder has no usable model or tokenizer, and what to do, from the text of the error."""
    said = first_line(error)
    if Path(source).is_relative_to(cache_root()):
        return _of_the_cache(source, said)
    if isinstance(error, SafetensorError) or "SafetensorError" in type(error).__name__:
        return f"a file of weights in {source} is damaged or cut off ({said}): copy it again"
    if "does not recognize this architecture" in str(error):
        kind = re.search(r"model type `([^`]+)`", str(error))
        return (
            f"this transformers {version('transformers')} does not know the model type {kind[1] if kind else said!r} "
            f"of {source}: use one that it knows, or one that brings its own code and model.trust_remote_code=true"
        )
    if isinstance(error, ImportError):
        return f"the code that comes with {source} cannot be imported ({said}): install what it needs"
    if part == "tokenizer":
        has = Path(source).is_dir() and any(Path(source).glob("tokenizer*"))
        why = f"its tokenizer cannot be read ({said})" if has else "there is no tokenizer in it"
        return f"{source}: {why}: save the tokenizer there with tokenizer.save_pretrained"
    kind = re.search(r"configuration class <class '[\w.]*\.(\w+)'>", str(error))
    if kind:
        return (
            f"{source} is described by a {kind[1]}, for which transformers has no causal language model: name one "
            "that predicts the next token of a text; of a model with a vision tower, save only its language model, "
            "or train it from Python"
        )
    return (
        f"{source} does not hold a causal language model that transformers can read ({said}): save it with "
        "save_pretrained"
    )


def _of_the_cache(source: str, said: str) -> str:
    """Describe a damaged model of the cache, which r2vpo can build again."""
    return f"{source}, which r2vpo built, is damaged ({said}): delete that folder, and it will be built again"


def _unreadable(name: str, source: str, error: OSError) -> UserError:
    """Name the missing part of a folder; for a folder or name that does not exist, suggest the nearest one."""
    if Path(source).is_relative_to(cache_root()):
        return UserError(f"model.name {name!r}: {_of_the_cache(source, first_line(error))}")
    gone = re.search(r"(\S+\.(?:safetensors|bin))\b", str(error))
    if Path(source).is_dir() and gone and "No such file" in str(error):
        return UserError(
            f"model.name {name!r}: the file {gone[1]} is missing, which the index of the weights names: copy it there, "
            "or save the model again with save_pretrained"
        )
    if Path(source).is_dir() and error.errno not in (None, errno.ENOENT):
        return UserError(
            f"model.name {name!r}: the files in {source} cannot be read ({first_line(error)}): they may be damaged, "
            "copy them again, or save the model again with save_pretrained"
        )
    return missing_model(name, f"cannot load it ({first_line(error)})")

"""Read weights so that none are left random; missing or surplus weights are reported in one line."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from r2vpo.errors import UserError

UNREADABLE = (ValueError, KeyError, RuntimeError, ImportError, EOFError, pickle.UnpicklingError, SafetensorError)
"""Exceptions that transformers raises, in addition to OSError, for a folder that it cannot load as a model."""
SHOWN = 3
_BLOCK = re.compile(r"(.*?\.)?(\d+)\.")


def read_weights(load: Callable[..., Any], source: str, *, what: str, **options: Any) -> Any:
    """Load a model whose weights all come from its files, and whose files have no layer that the model lacks.

    transformers initialises missing weights at random, and ignores weights that the model has no place for.

    Args:
        load: `from_pretrained` of a transformers class, or a function that passes all its options on to one.
        source: a folder or a name on the hub.
        what: beginning of an error: the setting that names the model.
        options: passed on to `load`.

    Returns:
        The model.

    Raises:
        UserError: weights are missing or of another shape, the files describe another network, or they hold adapters.
    """
    options = {"ignore_mismatched_sizes": True, **options}
    place = _files(source)
    with _without_table() as tables:
        try:
            model, found = load(source, output_loading_info=True, **options)
        except RuntimeError as error:
            # Experts are stored one by one and computed as one tensor; transformers names them only in its table.
            merged = [line.split()[0] for table in tables for line in table.splitlines() if "CONVERSION |" in line]
            if not merged:
                raise
            raise UserError(
                f"{what}: the tensors in {place} that {_listed(merged)} is made of are incomplete, or differ in "
                "shape: save the whole model again with save_pretrained"
            ) from error
    if getattr(model, "_hf_peft_config_loaded", False):
        raise adapters_alone(what, place)
    mismatched = sorted(found["mismatched_keys"])
    if mismatched:
        name, in_file, in_model = mismatched[0]
        more = f" (and {len(mismatched) - 1} more)" if len(mismatched) > 1 else ""
        raise UserError(
            f"{what}: {name} is {_shape(in_file)} in {place} and {_shape(in_model)} by its config.json{more}: put the "
            "config.json there that belongs to the weights"
        )
    missing = missing_weights(model, set(found["missing_keys"]) - _make_buffers(model, set(found["missing_keys"])))
    if missing:
        raise UserError(
            f"{what}: {place} has no weights for {_listed(missing)}, {len(missing)} of the model's "
            f"{len(model.state_dict())}, which would be drawn at random: {_remedy(model, missing)}"
        )
    strange = foreign_weights(model, found["unexpected_keys"])
    if strange:
        raise UserError(
            f"{what}: {place} has weights that {type(model).__name__} has no place for, {_listed(strange)}, "
            f"{len(strange)} in all: they belong to another network than its config.json describes: put the "
            "config.json there that belongs to the weights"
        )
    return model


def first_line(error: BaseException) -> str:
    """Return an error's first line, or its type if it has no message.

    Args:
        error: an error of another library.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def adapters_alone(what: str, place: str) -> UserError:
    """Return the error for a folder that holds adapters where a whole model is expected.

    Args:
        what: the setting that names the folder.
        place: the folder.
    """
    return UserError(
        f"{what}: {place} holds adapters (adapter_config.json), but a whole model is required: merge them into their "
        "model with peft's merge_and_unload, save it with save_pretrained in a separate folder, and name that folder"
    )


def read_adapters(model: Any, folder: str) -> Any:
    """Add adapters to their model.

    Args:
        model: the model that they were trained on.
        folder: the folder of the adapters.

    Returns:
        The model with adapters.

    Raises:
        UserError: the files lack adapters, which peft would initialise at random.
    """
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = PeftModel.from_pretrained(model, folder)
    for warning in caught:
        if "missing adapter keys" in str(warning.message):
            first = re.findall(r"[\w.]*lora[\w.]*", str(warning.message)) or ["adapter_model.safetensors"]
            raise UserError(
                f"{folder}: its weights lack {_listed(sorted(set(first)))}, which adapter_config.json requires: save "
                "the adapters again with save_pretrained"
            )
    return adapted


def missing_weights(model: Any, keys: Iterable[str]) -> list[str]:
    """Return the missing weights that would be random.

    Args:
        model: the model.
        keys: weights that transformers found missing, without tied weights and those that it creates itself.
    """
    found = set(keys)
    quantized = getattr(model, "hf_quantizer", None) is not None
    by_module: dict[str, set[str]] = {}
    for key in model.state_dict() if quantized else ():
        by_module.setdefault(key.rpartition(".")[0], set()).add(key)
    return sorted(
        key
        for key in found
        # A quantised layer has several tensors, some of them only in some formats: it is present if any of them is.
        if not quantized or by_module.get(key.rpartition(".")[0], set()) <= found
    )


def foreign_weights(model: Any, keys: Iterable[str]) -> list[str]:
    """Return the unexpected weights that show that the files hold another network.

    These are whole layers, and weights inside a layer that the model has. Other heads, vision towers and the causal
    masks in old files do not affect the computation; the names in a quantised file allow no conclusion.

    Args:
        model: the model.
        keys: weights that transformers did not expect.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        return []
    modules = dict(model.named_modules())
    blocks: dict[str, set[int]] = {}
    for name in modules:
        if match := _BLOCK.match(name + "."):
            blocks.setdefault(match[1] or "", set()).add(int(match[2]))
    # Layers for predicting several tokens at once come after the others, and are not used.
    ahead = int(getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0)
    return sorted(key for key in keys if _is_foreign(key, modules, blocks, ahead))


def _is_foreign(key: str, modules: dict[str, Any], blocks: dict[str, set[int]], ahead: int) -> bool:
    match = _BLOCK.match(key)
    parent, _, last = key.rpartition(".")
    if match is None or (match[1] or "") not in blocks or last not in ("weight", "bias"):
        return False
    numbers = blocks[match[1] or ""]
    if int(match[2]) not in numbers:
        return int(match[2]) > max(numbers) + ahead
    # A `bias` directly on a module that contains other modules is the causal mask of an old file.
    return parent not in modules or not any(modules[parent].children())


def _make_buffers(model: Any, missing: set[str]) -> set[str]:
    """Create the buffers that no file has, as the model's own Python code does, and return their names.

    transformers does so for its own classes, but leaves those of code that comes with a model uninitialised.
    """
    import torch
    from accelerate import init_empty_weights
    from transformers.initialization import no_init_weights

    here = dict(model.named_buffers())
    wanted = {name for name, _ in model.named_non_persistent_buffers()} | (missing & here.keys())
    if not wanted or not _has_own_code(model):
        return set()
    with no_init_weights(), init_empty_weights(include_buffers=False), torch.random.fork_rng(devices=[]):
        made = dict(type(model)(copy.deepcopy(model.config)).named_buffers())
    known = {name for name in wanted if name in made and not made[name].is_meta}
    for name in known:
        here[name].copy_(made[name])
    return known


def _has_own_code(model: Any) -> bool:
    """Return whether the model's class is not one of transformers'; `is_custom_code` since transformers 5.10."""
    return not type(model).__module__.startswith("transformers.")


def _remedy(model: Any, missing: list[str]) -> str:
    if len(missing) > len(model.state_dict()) // 2:
        return f"the files were not saved from a {type(model).__name__}: name a folder that save_pretrained wrote"
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    heads = {name for name, value in model.named_parameters() if head is not None and value is head.weight}
    if set(missing) <= heads and head.weight.shape == embedding.weight.shape:
        return (
            "save the model again with its output layer, or set tie_word_embeddings to true in its config.json if its "
            "embeddings are that layer"
        )
    return "save the whole model again with save_pretrained"


def _files(source: str) -> str:
    """Return the folder with the name of its weights, if there is one file or one index."""
    folder = Path(source)
    for name in ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json"):
        if (folder / name).is_file():
            return str(folder / name)
    return str(folder / "pytorch_model.bin") if (folder / "pytorch_model.bin").is_file() else source


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")


def _shape(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


@contextlib.contextmanager
def _without_table() -> Iterator[list[str]]:
    """Suppress the multi-line table of transformers, whose content is reported here."""
    kept: list[str] = []

    def wanted(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "LOAD REPORT" not in text and "checkpoint seem corrupted" not in text:
            return True
        kept.append(text)
        return False

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(wanted)
    try:
        yield kept
    finally:
        logger.removeFilter(wanted)

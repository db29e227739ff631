"""GGUF files as models: read one, and convert it once into a transformers model in the cache.

The file's weights become float32. A quantised file is dequantised by transformers, and its weights are then spread
within their bfloat16 spacing, as those of the embedded model are (`spread_within_bfloat16`).
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from r2vpo.checkpoint_files import digest_of_file
from r2vpo.disk import disk_failure
from r2vpo.errors import UserError
from r2vpo.models.cache import build_once, cache_root, is_complete
from r2vpo.models.convert import write_converted
from r2vpo.weights import UNREADABLE, first_line

logger = logging.getLogger(__name__)


WHOLE_NUMBERS = frozenset({"F32", "F16", "BF16"})
"""Types of tensors that hold a model's own weights, not quantised ones."""
_SOURCE = "r2vpo_source.json"


def gguf_folder(file: Path) -> Path:
    """Return the folder of a GGUF file's transformers model, which is built into the cache on first use.

    Args:
        file: the GGUF file.

    Raises:
        UserError: it is not a GGUF file or is damaged, is one part of several, or holds a model that transformers
            cannot read; or the cache cannot be written.
    """
    target = cache_root() / "models" / f"gguf-{file.stem[:60]}-{digest_of_file(file)[:16]}"
    if not is_complete(target):
        kinds = _check(file)
        quantised = sorted(kinds - WHOLE_NUMBERS)
        what = f"quantised ({', '.join(quantised)}): its weights are dequantised to" if quantised else "converted to"
        logger.warning("%s is %s float32, once, in %s", file, what, target)
        build_once(target, lambda folder: _convert(file, folder, quantised=bool(quantised)))
    return target


def converted_from(folder: Path) -> str | None:
    """Return the GGUF file that a folder of the cache was converted from, or None.

    Args:
        folder: a folder of a model.
    """
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads((folder / _SOURCE).read_text(encoding="utf-8"))["file"])
    return None


def licence_in(file: Path) -> str | None:
    """Return the licence that a GGUF file declares, or None.

    Args:
        file: the GGUF file.
    """
    try:
        found = _field(_open(file), "general.license")
    except UserError:
        return None
    return found if isinstance(found, str) else None


def _open(file: Path) -> Any:
    from gguf import GGUFReader

    class Reader(GGUFReader):
        """A reader that ends at the end of the file; gguf's goes through all numbers that a damaged count promises."""

        def _get(self, offset: int, dtype: Any, count: int = 1, *rest: Any, **named: Any) -> Any:
            if int(offset) + int(count) * np.dtype(dtype).itemsize > len(self.data):
                raise ValueError("it ends in the middle of a value")
            return super()._get(offset, dtype, count, *rest, **named)

    try:
        return Reader(str(file))
    except (
        *(OSError, ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError, OverflowError, MemoryError),
        RecursionError,
    ) as error:
        raise UserError(
            f"model.name {str(file)!r}: it is not a GGUF file, or it is damaged or cut off ({first_line(error)}): copy "
            "it again"
        ) from error


def _field(reader: Any, name: str) -> Any:
    field = reader.get_field(name)
    return None if field is None else field.contents()


def _check(file: Path) -> set[str]:
    """Return the types of the file's tensors, after reading where each of them lies."""
    reader = _open(file)
    parts = _field(reader, "split.count")
    if isinstance(parts, int) and parts > 1:
        raise UserError(
            f"model.name {str(file)!r}: this is one of {parts} parts: join them with llama.cpp's `llama-gguf-split "
            "--merge`, and name the joined file"
        )
    if not reader.tensors:
        raise UserError(f"model.name {str(file)!r}: there are no weights in it: name a file with a whole model")
    return {tensor.tensor_type.name for tensor in reader.tensors}


def _convert(file: Path, folder: Path, *, quantised: bool) -> None:
    what, reader = f"model.name {str(file)!r}", _open(file)
    try:
        tokenizer = _tokenizer(file, reader)
        ends = [_field(reader, f"tokenizer.ggml.{kind}_token_id") for kind in ("eot", "eom")]
        write_converted(
            file,
            folder,
            what=what,
            name=str(file.absolute()),
            tokenizer=tokenizer,
            spread=quantised,
            ends=[token for token in ends if token is not None],
        )
    except UserError:
        raise
    except (OSError, TypeError, AttributeError, IndexError, NotImplementedError, *UNREADABLE) as error:
        # transformers and gguf raise each of these for an architecture, a tokenizer or a field that they do not know.
        if disk_failure(error) is not None or (isinstance(error, OSError) and error.errno is not None):
            raise  # the cache cannot be written
        architecture = _field(reader, "general.architecture")
        raise UserError(
            f"{what}: transformers cannot read this GGUF file of the architecture {architecture} "
            f"({first_line(error)}): take the model in transformers' format"
        ) from error
    (folder / _SOURCE).write_text(json.dumps({"file": str(file.absolute())}) + "\n", encoding="utf-8")


def _tokenizer(file: Path, reader: Any) -> Any:
    """Read the tokenizer; transformers does not split texts at digits as SmolLM's tokenizer does."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    if _field(reader, "tokenizer.ggml.pre") == "smollm":
        parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    return tokenizer

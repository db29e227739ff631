"""A tokenizer's metadata in a GGUF file: vocabulary, merges, how texts are split, special tokens, chat template."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError

CONVERTER = "llama.cpp's convert_hf_to_gguf.py"

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_SMOLLM = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2]}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _split(regex: str) -> dict[str, Any]:
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _BYTES]}


# The identifier decides in llama.cpp how texts are split, and whether a whole word of the vocabulary skips the merges.
PRE_TOKENIZERS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("gpt-2", _GPT2, False),
    ("smollm", _SMOLLM, False),
    ("qwen2", _split(_WORDS + r"\p{N}" + _REST), False),
    ("llama-bpe", _split(_WORDS + r"\p{N}{1,3}" + _REST), True),
)
"""llama.cpp's identifier, the `pre_tokenizer` of tokenizer.json that splits likewise, and its `ignore_merges`."""


def add_tokenizer(writer: Any, tokenizer: Any, *, rows: int, ends: Sequence[int], what: str) -> None:
    """Write a tokenizer's metadata.

    Args:
        writer: a `gguf.GGUFWriter`.
        tokenizer: a tokenizer of transformers.
        rows: number of rows of the embeddings; surplus ones get tokens that are never used.
        ends: ids that end an answer.
        what: beginning of an error.

    Raises:
        UserError: llama.cpp would tokenise otherwise, as far as it is known here.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        described = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        identifier = _pre_tokenizer(described, what)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(identifier)
        tokens, types = _tokens(tokenizer, rows)
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        writer.add_add_space_prefix(False)
        _add_special(writer, tokenizer, Path(folder), rows, ends)


def can_be_written(folder: Path) -> bool:
    """Return whether the tokenizer in a folder is one that `add_tokenizer` writes."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return False
    try:
        _pre_tokenizer(json.loads(file.read_text(encoding="utf-8")), str(folder))
    except UserError:
        return False
    return True


def _pre_tokenizer(described: dict[str, Any], what: str) -> str:
    """Return llama.cpp's identifier for a byte-level BPE that it splits and merges in the same way."""
    model = described.get("model") or {}
    is_bytes = (
        model.get("type") == "BPE" and not model.get("byte_fallback") and not model.get("continuing_subword_prefix")
    )
    normalizer = (described.get("normalizer") or {"type": "NFC"})["type"]
    if is_bytes and normalizer == "NFC":
        split = _without_offsets(described.get("pre_tokenizer"))
        for identifier, known, whole_words in PRE_TOKENIZERS:
            if split == known and bool(model.get("ignore_merges")) == whole_words:
                return identifier
    known_names = ", ".join(identifier for identifier, _, _ in PRE_TOKENIZERS)
    raise UserError(
        f"{what}: its tokenizer is not a byte-level BPE of a kind that this package can write ({known_names}): convert "
        f"the exported folder with {CONVERTER}"
    )


def _without_offsets(split: Any) -> Any:
    """Leave out `trim_offsets`, which moves no border between tokens."""
    if isinstance(split, dict):
        return {key: _without_offsets(value) for key, value in split.items() if key != "trim_offsets"}
    return [_without_offsets(part) for part in split] if isinstance(split, list) else split


def _tokens(tokenizer: Any, rows: int) -> tuple[list[str], list[int]]:
    from gguf import TokenType

    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for number in range(rows):
        tokens.append(texts.get(number, f"[PAD{number}]"))
        kind = TokenType.NORMAL if number in texts else TokenType.UNUSED
        if number in added:
            kind = TokenType.CONTROL if added[number].special else TokenType.USER_DEFINED
        types.append(int(kind))
    return tokens, types


def _add_special(writer: Any, tokenizer: Any, folder: Path, rows: int, ends: Sequence[int]) -> None:
    from gguf import SpecialVocab

    special = SpecialVocab(folder, load_merges=True, n_vocab=rows)
    # What the tokenizer does decides, as its settings may say otherwise.
    ids = tokenizer("a")["input_ids"]
    special.add_special_token = {
        "bos": tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id is not None and ids[-1] == tokenizer.eos_token_id,
    }
    further = [number for number in ends if number != special.special_token_ids.get("eos")]
    if further and "eos" not in special.special_token_ids:
        special.special_token_ids["eos"] = further.pop(0)
    if further:
        special.special_token_ids["eot"] = further[0]
    special.add_to_gguf(writer, quiet=True)

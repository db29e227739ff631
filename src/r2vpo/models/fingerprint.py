"""Short names of weights and vocabularies: equal for equal ones, different for different ones."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn


@torch.no_grad()
def weights_fingerprint(model: nn.Module) -> str:
    """Return 32 hexadecimal digits of the weights, which any optimizer step changes.

    The bits of each tensor are added up as whole numbers, which takes as long as reading the weights once; the names,
    shapes and sums are hashed.

    Args:
        model: A model whose weights are all in this process.
    """
    found = hashlib.blake2b(digest_size=16)
    for name, value in model.named_parameters():
        whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(value.element_size(), torch.uint8)
        total = int(value.detach().contiguous().view(whole).sum(dtype=torch.int64))
        found.update(f"{name} {tuple(value.shape)} {value.dtype} {total}\n".encode())
    return found.hexdigest()


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Return 32 hexadecimal digits of what each token id means.

    Args:
        tokenizer: One of transformers'.
    """
    vocabulary = json.dumps(sorted(tokenizer.get_vocab().items()), ensure_ascii=False)
    return hashlib.blake2b(vocabulary.encode(errors="surrogatepass"), digest_size=16).hexdigest()

"""Conversion of the catalogue's models into the cache: SmolLM2 from a GGUF file, and a random toy model."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from r2vpo.models.package import find_gguf
from r2vpo.optional import require
from r2vpo.weights import read_weights

SPREAD_SEED = 0
TINY_SEED = 0
TINY_SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}


def gguf_tokenizer() -> Any:
    """Read the tokenizer of the GGUF file, with its chat template."""
    from transformers import AutoTokenizer

    require("gguf", "embedded/smollm2-135m")
    file = find_gguf()
    return AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)


def convert_smollm2(folder: Path) -> None:
    """Write SmolLM2-135M-Instruct as a transformers model with float32 weights.

    Args:
        folder: an empty folder.
    """
    require("gguf", "embedded/smollm2-135m")
    file, name = find_gguf(), "embedded/smollm2-135m"
    write_converted(file, folder, what=f"{name}: {file.name}", name=name, tokenizer=gguf_tokenizer(), spread=True)


def write_converted(
    file: Path,
    folder: Path,
    *,
    what: str,
    name: str,
    tokenizer: Any,
    spread: bool,
    ends: Sequence[int] = (),
) -> None:
    """Write the model in a GGUF file as a transformers model with float32 weights.

    Args:
        file: the GGUF file.
        folder: an empty folder.
        what: beginning of an error: what names the file.
        name: what the model is called in its configuration.
        tokenizer: the file's tokenizer.
        spread: whether the weights were quantised and are spread, see `spread_within_bfloat16`.
        ends: ids that end an answer, in addition to the end-of-sequence token that the file declares.

    Raises:
        UserError: the file lacks weights, or describes another network.
    """
    from transformers import AutoModelForCausalLM

    with quiet(), torch.random.fork_rng(devices=[]):
        source = read_weights(
            AutoModelForCausalLM.from_pretrained, str(file.parent), what=what, gguf_file=file.name, dtype=torch.float32
        )
        config = copy.deepcopy(source.config)
        # A model that declares itself quantised cannot be saved; its weights are plain float32 by now.
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        config._name_or_path = name
        with torch.device("meta"):
            model = type(source)(config)
        model.load_state_dict(source.state_dict(), assign=True)
        model.tie_weights()
        if spread:
            spread_within_bfloat16(model)
        model.generation_config = copy.deepcopy(source.generation_config)
        if ends:
            declared = model.generation_config.eos_token_id
            known = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
            model.generation_config.eos_token_id = list(dict.fromkeys([*known, *ends]))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@torch.no_grad()
def spread_within_bfloat16(model: torch.nn.Module) -> None:
    """Move every weight by a uniform random fraction of its bfloat16 spacing, at most half of it in either direction.

    `w <- w + u * 2^(floor(log2 |w|) - 7)`, u uniform in [-1/2, 1/2): no more than rounding to bfloat16 does.

    De-quantised weights lie on a coarse grid, and many of them exactly half-way between two bfloat16 numbers. Under
    bfloat16 autocast an update of 1e-6 then flips the rounding of all of these at once, in the direction of its sign:
    on this model (docs/results.md), it changed log-probs by 0.9 nats where the float32 forward changed by 0.1. Once the
    weights are spread, the number that flip is proportional to the size of the update, and the forward pass follows the
    update on average.

    Args:
        model: float32 weights, changed in place; the result is the same every time.
    """
    generator = torch.Generator().manual_seed(SPREAD_SEED)
    for parameter in model.parameters():
        _, exponent = torch.frexp(parameter)
        spacing = torch.ldexp(torch.ones_like(parameter), exponent - 8)
        noise = torch.rand(parameter.shape, generator=generator) - 0.5
        parameter.add_(torch.where(parameter == 0, 0.0, noise * spacing))


def make_tiny(folder: Path, tokenizer: Any) -> None:
    """Write a small Llama with random weights, which knows nothing and only shows that the parts fit together.

    Args:
        folder: an empty folder.
        tokenizer: the tokenizer to save with it, which also sets the vocabulary.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(TINY_SEED)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=True,
            **TINY_SHAPE,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context manager that disables progress bars of transformers and restores them afterwards."""
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    shown, own = logging.is_progress_bar_enabled(), gguf.tqdm
    logging.disable_progress_bar()
    gguf.tqdm = logging.tqdm  # its own bar for dequantisation ignores the switch
    try:
        yield
    finally:
        gguf.tqdm = own
        if shown:
            logging.enable_progress_bar()

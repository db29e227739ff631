"""GGUF files of ours in llama.cpp: tokens, logits and greedy answers are those of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from llama_cpp import Llama

from r2vpo.export.gguf_model import write_gguf
from r2vpo.models import load_model, load_tokenizer
from tests.bpe import TEXTS, bpe_tokenizer, gguf_model

IDENTIFIERS = ("gpt-2", "smollm", "qwen2", "llama-bpe")
# Largest difference of a log-prob in nats. Measured: 3e-5, 0.017, 0.17 and 0.62.
TOLERANCES = {"f32": 3e-4, "f16": 0.05, "bf16": 0.5, "q8_0": 1.5}


def write(folder: Path, model: Any, tokenizer: Any, kind: str = "f32") -> Llama:
    path = folder / f"model-{kind}.gguf"
    ends = [tokenizer.eos_token_id]
    write_gguf(path, model, tokenizer, kind=kind, name="tiny", licence="mit", ends=ends, what="tiny")
    # Keys and values in float32, as in transformers; llama.cpp's default for them is float16.
    return Llama(str(path), n_ctx=512, n_threads=1, logits_all=True, verbose=False, type_k=0, type_v=0)


def log_probs(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().log_softmax(-1)


def theirs(engine: Llama, ids: list[int]) -> torch.Tensor:
    engine.reset()
    engine.eval(ids)
    return torch.from_numpy(numpy.array(engine.scores[: len(ids)])).log_softmax(-1)


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_texts_become_the_same_tokens(tmp_path: Path, identifier: str) -> None:
    tokenizer = bpe_tokenizer(identifier)
    engine = write(tmp_path, gguf_model("llama", tokenizer), tokenizer)
    assert engine.metadata["tokenizer.ggml.pre"] == identifier
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "12 + 30?"}], tokenize=False)
    for text in (*TEXTS, chat, " ", "  12  345\n\n6", "don't DON'T"):
        expected = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert engine.tokenize(text.encode(), add_bos=False, special=True) == expected, text
    assert engine.token_eos() == tokenizer.eos_token_id
    assert engine.metadata["tokenizer.chat_template"] == tokenizer.chat_template


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"tie_word_embeddings": True, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
        (
            "llama",
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 1e4,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                }
            },
        ),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
        ("qwen2", {}),
        ("qwen3", {"tie_word_embeddings": True}),
    ],
)
def test_logits_are_those_of_transformers(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    tokenizer = bpe_tokenizer("gpt-2")
    model = gguf_model(kind, tokenizer, **changes)
    ids = tokenizer("".join(TEXTS))["input_ids"][:160]
    ours, found = log_probs(model, ids), theirs(write(tmp_path, model, tokenizer), ids)
    assert ours.std() > 0.5, "the answers are too flat to tell right from wrong"
    assert float((ours - found).abs().max()) < TOLERANCES["f32"]


@pytest.fixture(scope="module")
def smollm() -> tuple[Any, Any]:
    return load_model("embedded/smollm2-135m").eval(), load_tokenizer("embedded/smollm2-135m")


@pytest.fixture(scope="module", params=list(TOLERANCES))
def engine(request: pytest.FixtureRequest, smollm: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield request.param, write(tmp_path_factory.mktemp("smollm"), *smollm, request.param)


def test_the_real_model_answers_alike(smollm: Any, engine: Any) -> None:
    """Log-probs of its own greedy answers; in float32 and float16 the greedy tokens are the same."""
    (model, tokenizer), (kind, found) = smollm, engine
    chats = ["What is the capital of France?", "Write a haiku about rain."]
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": chat}], add_generation_prompt=True)["input_ids"]
        for chat in chats
    ]
    prompts += [tokenizer(text)["input_ids"] for text in ("1 + 2 = 3\n4 + 4 = 8\n2 + 2 =", "Once upon a time")]
    for ids in prompts:
        answer = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :].tolist()
        whole = [*ids, *answer]
        ours, others = log_probs(model, whole), theirs(found, whole)
        chosen = torch.tensor(whole[1:])[:, None]
        apart = (ours[:-1].gather(1, chosen) - others[:-1].gather(1, chosen)).abs().max()
        assert float(apart) < TOLERANCES[kind]
        if kind in ("f32", "f16"):
            assert others[len(ids) - 1 : -1].argmax(-1).tolist() == answer

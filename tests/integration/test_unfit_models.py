"""A model, a tokenizer and prompts that do not fit end the command with one line, before there is a run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from r2vpo.cli.train import show_result
from r2vpo.config.run_directory import open_run
from r2vpo.errors import UserError
from r2vpo.models import load_tokenizer
from tests.integration.cli import records, train, write_recipe
from tests.integration.test_bad_input import refused
from tests.unit.report.embedded import embedded

SHAPE = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
SHORT = ("trainer.max_steps=4", "evaluation.every_rounds=0", "report_to=[]")


def llama(folder: Path, **changes: Any) -> None:
    torch.manual_seed(0)
    tokenizer = load_tokenizer("tiny/random-llama")
    options = dict(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=2, **SHAPE)
    LlamaForCausalLM(LlamaConfig(**(options | changes))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def headless(folder: Path) -> None:
    llama(folder)
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["lm_head.weight"]
    save_file(weights, file, metadata={"format": "pt"})


def learned_positions(folder: Path) -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    shape = dict(n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2)
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def without_special_tokens(folder: Path, *kept: str) -> None:
    llama(folder, eos_token_id=None, pad_token_id=None, bos_token_id=None)
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    for name in {"eos_token", "pad_token", "bos_token"} - set(kept):
        settings.pop(name, None)
    file.write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (headless, r"model\.safetensors has no weights for lm_head\.weight, 1 of the model's 12, .* at random: save"),
        (lambda folder: llama(folder, vocab_size=1000), r"48152 tokens beyond the model's 1000 embeddings, .* resize_"),
        (
            lambda folder: llama(folder, max_position_embeddings=16),
            r"rollout\.max_new_tokens = 3 after training .*16 po",
        ),
        (
            learned_positions,
            r"after training prompt \d+ of 15 tokens, .* the 16 positions of this model .*to at most 1,",
        ),
        (without_special_tokens, r"no padding token, and no end-of-sequence token to use instead: set pad_token"),
        (
            lambda folder: without_special_tokens(folder, "pad_token"),
            r"no token ends an answer, .*: set eos_token in its tokenizer_config\.json, or name .* rollout\.stop",
        ),
    ],
    ids=["no output layer", "vocabulary", "rope", "learned positions", "no end, no padding", "no end"],
)
def test_no_run_is_made(make: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    make(tmp_path / "model")
    refused(write_recipe(tmp_path), f"model.name={tmp_path / 'model'}", said=said)


def test_held_out_prompts_are_measured_with_the_evaluations_answers(tmp_path: Path) -> None:
    llama(tmp_path / "model", max_position_embeddings=64)
    name = f"model.name={tmp_path / 'model'}"
    line = r"evaluation\.max_new_tokens = 60 after held-out prompt"
    refused(write_recipe(tmp_path), name, "evaluation.max_new_tokens=60", said=line)


def test_a_stop_text_is_end_enough(tmp_path: Path) -> None:
    without_special_tokens(tmp_path / "model", "pad_token")
    name = f"model.name={tmp_path / 'model'}"
    done = train(write_recipe(tmp_path), name, "rollout.stop=['=']", *SHORT, runs=tmp_path / "runs")
    assert done.code == 0, done.err


def nothing(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """A reward that never differs."""
    return [0.0] * len(completions)


def test_a_run_without_signal_says_so(tmp_path: Path) -> None:
    reward = "reward.name=tests.integration.test_unfit_models:nothing"
    steps = ("trainer.max_steps=16", "evaluation.every_rounds=0", "report_to=[]", "trainer.save_steps=16")
    done = train(write_recipe(tmp_path), reward, *steps, runs=tmp_path / "runs")
    assert done.code == 2 and done.err.count("\n") == 1, "what learned nothing is no success"
    assert "none of its 4 rounds had a signal, so the weights are those it began with" in done.err
    assert done.out.count("warning: no signal for 2 rounds: no reward differed within a group") == 1
    assert done.out.count("warning: no signal for 4 rounds") == 1
    assert "rewards: nothing 0. " in done.out
    assert "no signal        4 rounds, in which no reward differed within a group" in done.out
    assert json.loads((done.run / "summary.json").read_text())["rounds_without_signal"] == 4
    assert [record["signal"] for record in records(done.run / "metrics.jsonl")] == [0.0] * 16
    report = json.dumps(embedded(done.run / "report.html"))
    assert "4 rounds had no signal: no reward differed within a group" in report
    # A critic learns the mean of rewards that are equal.
    run = open_run(done.run)
    run.write_summary((run.read_summary() or {}) | {"weights_changed": True})
    with pytest.raises(UserError, match="none of its 4 rounds had a signal, so the rewards have taught it nothing: in"):
        show_result(done.run, Console(file=io.StringIO()), "r2vpo")


@pytest.mark.parametrize("setting", ["trainer.learning_rate=1e-38", "trainer.max_grad_norm=1e-30"])
def test_steps_that_change_no_weight_are_no_success(tmp_path: Path, setting: str) -> None:
    done = train(write_recipe(tmp_path), setting, "step_control.enabled=false", "trainer.max_steps=2", runs=tmp_path)
    assert done.code == 2 and done.err.count("\n") == 1
    assert "no step has changed the weights: trainer.learning_rate" in done.err

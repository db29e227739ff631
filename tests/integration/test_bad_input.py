"""Bad input ends with one line that says what, where and how to fix it, and exit code 2; nothing saved is lost."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, MistralConfig, MistralForCausalLM

from r2vpo.config.run_directory import open_run
from r2vpo.models import load_model, load_tokenizer
from r2vpo.replay import snapshot
from r2vpo.training import setup
from tests.disks import can_mount
from tests.integration.cli import BEHAVIOUR, Outcome, command, records, start, train, write_recipe

SCRIPTED = "reward.name=tests.integration.cli:scripted"
SHORT = ("trainer.max_steps=8", "evaluation.every_rounds=0", "report_to=[]")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path)


def one_line(outcome: Outcome) -> str:
    """The line of a failure that the user can fix."""
    assert outcome.code == 2, outcome.err
    assert outcome.err.startswith("r2vpo: error: ") and outcome.err.count("\n") == 1, outcome.err
    return outcome.err.removeprefix("r2vpo: error: ").strip()


def refused(recipe: Path, *overrides: str, said: str) -> None:
    """It ends before there is a run, with one line; with --debug a traceback comes before the same line."""
    runs = recipe.parent / "runs"
    line = one_line(train(recipe, *overrides, runs=runs))
    assert re.search(said, line), line
    debugged = train(recipe, *overrides, runs=runs, more=("--debug",))
    assert debugged.code == 2
    assert debugged.err.startswith("Traceback (most recent call last):\n")
    assert debugged.err.splitlines()[-1] == f"r2vpo: error: {line}"
    assert not runs.exists() or not list(runs.iterdir()), "nothing was known that needs a run"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["objectve.delta=0.1"], r"--set: unknown key objectve\.delta; did you mean objective\.delta\?"),
        (["trainer.lr=1"], r"unknown key trainer\.lr; did you mean trainer\.learning_rate\?"),
        (["objective.delta=-0.04"], r"--set: objective\.delta is -0\.04; it must be at least 1e-09"),
        (
            ["objective.name=cispo", "objective.options.clip_hihg=0.3"],
            r"objective\.options\.clip_hihg is not an option of 'cispo'.* did you mean clip_high\?",
        ),
        (
            ["objective.ratio_variance.delta=0.1"],
            r"objective\.ratio_variance is r2vpo's own penalty: set objective\.delta",
        ),
        (
            ["objective.name=kl_penalty"],
            r"dual\.kind = closed_form does not fit objective\.name = kl_penalty: set dual\.kind=doubling",
        ),
        (["rollout.prompts_per_round=6"], r"6 does not divide into .*_per_round = 4: set .*=4 or 8"),
        (["trainer.micro_batches=3"], r"4 fresh rows, .* trainer\.micro_batches = 3: set .*=2 or 4"),
        (["rollout.samples_per_prompt=1"], r"samples_per_prompt = 1 .* set .* to 2 or more"),
        (["data.held_out_size=0"], r"data\.held_out_size is 0; it must be at least 1"),
        (["data.train_size=2"], r"2 training problems are fewer than .* = 4: .* at most 2"),
        (
            ["data.train_size=500", "data.mixture.1.params={min_digits: 1, max_digits: 1, min_terms: 2, max_terms: 2}"],
            r"distinct problems are needed to train on but the mixture has only",
        ),
        (["data.mixture.0.family=chain_sun"], r"'chain_sun' is none of the \d+ .*; did you mean chain_sum\?"),
        (
            ["reward.name=no_such_module:score"],
            r"reward 'no_such_module:score': cannot import 'no_such_module'",
        ),
        (["reward.name=tests.integration.cli:scripte"], r"no function 'scripte'; did you mean scripted\?"),
        (
            ["reward.name=tests.integration.cli:not_a_score"],
            r"reward 'not_a_score' raises RuntimeError: no scorer here on row 1 .*: make it return a number",
        ),
        (["model.name=./no-such-model"], r"model\.name './no-such-model': no folder no-such-model: use"),
        (["model.name=tiny/random-lama"], r"no embedded model of that name: .*; did you mean tiny/random-llama\?"),
        (["model.lora.target_modules=[q_proj, nope]"], r"no layer 'nope'; its linear layers are .*q_proj"),
        (["rollout.stop=[one two three]"], r"rollout\.stop: 'one two three' is \d tokens of this model"),
    ],
)
def test_settings(recipe: Path, overrides: list[str], said: str) -> None:
    refused(recipe, *overrides, said=said)


def test_what_this_machine_lacks(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "get_available_reporting_integrations", lambda: ["tensorboard"])
    monkeypatch.setattr(setup, "is_vllm_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(recipe, "rollout.sampler=vllm", said=r"vLLM is not installed: .* rollout\.sampler=shared_prefix")
    refused(recipe, "report_to=[wandb]", said=r"report_to: wandb is not installed")
    refused(recipe, "trainer.device=cuda", said=r"sees no CUDA device: set trainer\.device=auto or cpu")


def test_the_recipe_itself(recipe: Path) -> None:
    text = recipe.read_text()
    recipe.write_text(text + "objectiv: {delta: 0.1}\n")
    refused(recipe, said=r"small\.yaml: unknown key objectiv; did you mean objective\?")
    recipe.write_text("name: [small\n" + text)
    refused(recipe, said=r"small\.yaml: not valid YAML at line \d+, column \d+")
    recipe.write_text("just words")
    refused(recipe, said=r"small\.yaml: the recipe must be a mapping of keys to values, and this is a str")
    recipe.rename(recipe.with_name("smal.yaml"))
    refused(recipe, said=r"small\.yaml: no such file; did you mean .*smal\.yaml\?")


def test_a_file_of_problems(recipe: Path, tmp_path: Path) -> None:
    rows, empty = tmp_path / "rows.jsonl", tmp_path / "empty.jsonl"
    head, tail = recipe.read_text().split("data:\n")[0], recipe.read_text().partition("reward: ")[2]
    own = head + f"data: {{source: dataset, path: '{rows}', held_out_size: 2}}\nreward: " + tail
    recipe.write_text(own)
    refused(recipe, said=rf"cannot read the data file {rows}: No such file")
    rows.write_text("".join(f'{{"question": "{n}+1", "answer": {n + 1}}}\n' for n in range(8)))
    refused(recipe, said=r"rows\.jsonl, line 1 has no column 'prompt', its columns are 'question', 'answer'")
    columns = "data.prompt_column=question"
    refused(recipe, columns, "data.held_out_size=8", said=r"8 distinct prompts, .* leave none to train on")
    refused(recipe, columns, "data.held_out_size=5", said=r"3 training problems are fewer than .* = 4")
    refused(
        recipe, columns, "data.max_prompt_tokens=1", said=r"max_prompt_tokens = 1: all 6 training prompts are longer"
    )
    empty.write_text("\n")
    refused(recipe, columns, f"data.held_out_path={empty}", said=rf"{empty} is empty")


def test_a_model_whose_prompts_cannot_be_shared_trains_on_other_paths(recipe: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=2, sliding_window=8, **sizes)
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path / "mistral")
    tokenizer.save_pretrained(tmp_path / "mistral")
    name = f"model.name={tmp_path / 'mistral'}"
    done = train(recipe, name, *SHORT, runs=tmp_path / "default")
    assert done.code == 0, done.err
    (note,) = [line for line in done.err.splitlines() if "a sliding window of 8 tokens" in line]
    assert "the ordinary forward is used, and responses come from the model's own generate" in note
    done = train(recipe, name, "rollout.sampler=trl", *SHORT, runs=tmp_path / "trl")
    assert done.code == 0, done.err
    assert "the ordinary forward is used" in done.err


def test_a_model_that_is_not_causal(recipe: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    BertLMHeadModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)).save_pretrained(
        tmp_path / "bert"
    )
    tokenizer.save_pretrained(tmp_path / "bert")
    refused(recipe, f"model.name={tmp_path / 'bert'}", said=r"model\.name '.*bert': the model is not causal")


def test_a_name_that_is_not_on_the_hub_in_a_process_of_its_own(recipe: Path, tmp_path: Path) -> None:
    arguments = ("train", str(recipe), "--set", "model.name=nobody/no-such-model")
    process = start(*arguments, folder=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert out.splitlines() == [f"loading {w}" for w in ("torch and its libraries", "the data", "nobody/no-such-model")]
    assert err.startswith(
        "r2vpo: error: model.name 'nobody/no-such-model': HF_HUB_OFFLINE is set, and the model is not"
    )
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_reward_that_raises_on_the_first_real_completion(recipe: Path, tmp_path: Path) -> None:
    failed = train(recipe, "reward.name=tests.integration.cli:fails_on_text", runs=tmp_path / "runs")
    line = one_line(failed)
    assert "reward function 'fails_on_text' raised RuntimeError: no scorer for text" in line
    assert not (failed.run / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise:2", "reward function 'scripted' raised RuntimeError: the scorer is gone"),
        ("nan:2", "reward function 'scripted' returned nan for completion 0"),
    ],
)
def test_a_reward_that_fails_in_the_middle(recipe: Path, tmp_path: Path, fault: str, said: str) -> None:
    settings = (SCRIPTED, *SHORT, "trainer.save_steps=3")
    failed = train(recipe, *settings, runs=tmp_path / "runs", **{BEHAVIOUR: fault})
    assert said in one_line(failed)
    assert not (failed.run / "summary.json").exists()
    checkpoint = open_run(failed.run).latest_checkpoint()
    assert checkpoint is not None and checkpoint.name == "checkpoint-3"
    assert load_model(str(checkpoint)).config.vocab_size > 0
    assert [record["step"] for record in records(failed.run / "metrics.jsonl")] == [1, 2, 3, 4]
    fixed = train(recipe, *settings, runs=tmp_path / "runs", more=("--resume", str(failed.run)))
    assert (fixed.code, fixed.err) == (0, "")
    assert [record["step"] for record in records(failed.run / "metrics.jsonl")] == list(range(1, 9))


@dataclass
class Disk:
    """A folder for runs on a disk with room for one checkpoint, and how to make more."""

    folder: Path
    make_room: Callable[[], None]


# A checkpoint of the model takes 41 MiB: on the first disk the weights of the second one fail, which safetensors
# writes,
# on the other the optimizer, which torch does. Without an administrator the last file's writer fails as on a full disk.
DISKS = ["simulated", *(["50m", "63m"] if can_mount() else [])]


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "simulated":
        real = snapshot.save

        def full(path: Path, state: Any) -> None:
            if state["step"] > 4:
                path.write_bytes(b"half")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            real(path, state)

        monkeypatch.setattr(snapshot, "save", full)
        yield Disk(folder, lambda: monkeypatch.setattr(snapshot, "save", real))
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield Disk(folder, lambda: subprocess.run(["mount", "-o", "remount,size=200m", folder], check=True))
    finally:
        # Lazily: an event file may still be open.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_at_a_checkpoint(recipe: Path, disk: Disk) -> None:
    failed = train(recipe, SCRIPTED, *SHORT, runs=disk.folder)
    line = one_line(failed)
    assert "the disk is full" in line and "nothing that was saved is lost: make room and resume with: " in line
    assert str(failed.run) in line
    kept = failed.run / "checkpoints" / "checkpoint-4"
    assert open_run(failed.run).latest_checkpoint() == kept
    assert [entry.name for entry in kept.parent.iterdir() if entry.is_dir()] == ["checkpoint-4"]
    assert load_model(str(kept)).config.vocab_size > 0
    disk.make_room()
    printed = shlex.split(line.partition("resume with: ")[2])
    assert printed[0] == "r2vpo"
    resumed = command(*printed[1:])
    assert (resumed.code, resumed.err) == (0, "")
    assert open_run(failed.run).latest_checkpoint() == kept.with_name("checkpoint-8")
    assert (failed.run / "summary.json").exists()

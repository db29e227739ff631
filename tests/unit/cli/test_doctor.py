"""The doctor: what is there, what is not, what fails to import, and a version that nobody tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from transformers import BertConfig, BertLMHeadModel, MistralConfig, MistralForCausalLM

from r2vpo.cli.doctor import INTEGRATIONS, Integration, examine, look_up, missing_of_extras, sandbox
from r2vpo.cli.machine import devices_by_system, devices_by_torch, room
from r2vpo.cli.main import main
from r2vpo.models import load_tokenizer
from r2vpo.sandbox import ISOLATIONS, first_working
from tests.custom_code import custom_model_folder, separate_modules
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize("full", [False, True])
def test_it_prints_versions_devices_and_integrations(capsys: pytest.CaptureFixture[str], full: bool) -> None:
    assert main(["doctor", *(["--full"] if full else [])]) == 0
    text = capsys.readouterr().out
    assert f"torch {metadata.version('torch')}" in text and "cores" in text
    for integration in INTEGRATIONS:
        assert f"\n  {integration.name}" in text
    (line,) = [line for line in text.splitlines() if line.startswith("  TRL")]
    assert line.split() == ["TRL", metadata.version("trl"), "ready" if full else "installed"]
    assert ("Nothing was imported" in text) != full
    assert "converted models: " in text and "GiB free" in text


@pytest.mark.parametrize(
    ("units", "said"), [(True, ", bfloat16 units"), (False, ", no bfloat16 units: trains in float32")]
)
def test_the_precision_of_the_cpu_is_said(monkeypatch: pytest.MonkeyPatch, units: bool, said: str) -> None:
    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: units)
    lines = devices_by_torch()
    assert lines[0].startswith("cpu: ") and lines[0].endswith(said)
    assert re.match(r"cpu now: \d+ threads?: ", lines[1])


def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["integrations"]] == [integration.name for integration in INTEGRATIONS]
    assert found["devices"] and found["libraries"]["torch"] == metadata.version("torch")


@pytest.mark.skipif("ONEDNN_MAX_CPU_ISA" in os.environ, reason="torch then uses less than the CPU has")
def test_the_system_says_the_same_of_the_cpu_as_torch() -> None:
    by_torch, by_system = devices_by_torch(), devices_by_system()
    assert by_system[0].rpartition(", ")[2] == by_torch[0].rpartition(", ")[2]
    assert by_system[0].split(", ")[:2] == by_torch[0].split(", ")[:2]
    assert any("built for CPUs" in line for line in by_system) == any("built for CPUs" in line for line in by_torch)


def test_a_gpu_is_found_through_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "0, NVIDIA H200, 143771 MiB"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert "gpu 0, NVIDIA H200, 143771 MiB" in devices_by_system()
    tool.write_text("#!/bin/sh\necho no devices were found\nexit 6\n")
    assert not any(line.startswith("gpu") for line in devices_by_system())


def test_the_room_is_that_of_the_disk_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path / "not" / "there"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    free = f"{shutil.disk_usage(tmp_path).free / 2**30:.0f} GiB free"
    assert room()[0] == f"converted models: {tmp_path / 'not' / 'there'}, {free}"
    assert room()[1].startswith(f"downloaded models: {tmp_path / 'hub' / 'hub'}, ")


def test_what_an_extra_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=2", "numpy>=2; extra == 'some'", 'no-such-package>=1; extra == "some"', "numpy; extra == 'all'"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    assert missing_of_extras() == {"some": ["no-such-package"], "all": []}


def test_what_is_looked_up_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "falls_over.py").write_text("raise SystemExit(7)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    numpy = metadata.version("numpy")
    assert look_up(Integration("X", ("numpy",), numpy, "falls_over", "do this")).state == "installed"
    assert look_up(Integration("X", ("numpy",), "0.0.1", "falls_over", "do this")).state == "untested version"
    assert look_up(Integration("X", ("numpy",), numpy, "no_such_module", "do this")).state == "broken"
    assert look_up(Integration("X", ("no-such-package",), "1", "json", "do this")).state == "absent"


def test_each_state_says_what_to_do() -> None:
    def state(packages: tuple[str, ...], tested: str, module: str) -> tuple[str, str]:
        found = examine(Integration("X", packages, tested, module, "do this"))
        return found.state, found.text

    numpy = metadata.version("numpy")
    assert state(("no-such-package",), "1.0", "numpy") == ("absent", "to install it: do this")
    assert state(("no-such-package", "numpy"), numpy, "numpy") == ("ready", "")
    assert state(("numpy",), "0.0.1", "numpy") == ("untested version", "it imports; tested with 0.0.1")
    assert state(("numpy",), numpy, "no_such_module") == (
        "broken",
        "ModuleNotFoundError: No module named 'no_such_module': do this",
    )
    assert state((), "1.0", "json") == ("ready", "")


def test_a_framework_that_ends_the_process_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "falls_over.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = examine(Integration("X", (), "1.0", "falls_over", "do this"))
    assert (found.state, found.text) == ("broken", "ended with exit code 7: do this")


def test_it_needs_nothing_but_torch(tmp_path: Path) -> None:
    """With the packages of the extra hidden the doctor runs, and a command that needs them says what to install."""
    hidden = "trl transformers pydantic rich yaml datasets accelerate peft numpy matplotlib filelock"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {hidden.split()!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "r2vpo.cli.main", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
        )

    well = command("doctor", "--full")
    assert well.returncode == 0 and "TRL" in well.stdout and "pip install 'r2vpo[trl]'" in well.stdout, well.stderr
    refused = command("train", "quickstart")
    assert refused.returncode == 2
    assert refused.stderr.startswith("r2vpo: error: ") and "pip install 'r2vpo[trl]'" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_the_sandbox_is_the_one_that_the_reward_would_use() -> None:
    found = first_working(ISOLATIONS, memory_bytes=1 << 30)
    text = sandbox()
    if found.isolation == "bubblewrap":
        assert text == "bubblewrap"
    else:
        assert found.isolation == "process"
        assert "child process under seccomp" in text
        assert ("and Landlock" in text) == ("reading" not in found.gaps)
        assert ("see which files exist" in text) == ("seeing" in found.gaps)
        assert found.failed[0] in text


def test_a_bubblewrap_that_does_not_work_is_not_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho no permission here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    text = sandbox()
    assert text.startswith("child process under seccomp")
    assert "bubblewrap: no permission here" in text


def test_a_model_is_checked_and_what_will_be_used_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "tiny/random-llama"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("tiny/random-llama: LlamaForCausalLM, 3.2 million parameters, float32 on ")
    assert [line.split("  ")[1] for line in text.splitlines() if line.endswith(" right")] == [
        "ordinary forward",
        "shared-prefix forward",
        "shared-prefix forward, short rows",
        "ordinary forward in chunks",
        "shared-prefix sampler",
        "generate sampler",
        "generate sampler by length",
    ]
    assert "\ntraining  the shared-prefix forward\nsampling  the shared-prefix sampler\n" in text


def test_the_length_decides_about_a_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    MistralForCausalLM(
        MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=2, sliding_window=64, **sizes)
    ).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    used = []
    for longest in ("64", "65"):
        assert main(["doctor", str(tmp_path), "--longest", longest, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["longest"] == int(longest)
        assert found["class"] == "MistralForCausalLM"
        used.append((found["shares_prompts"], found["sampler"], len(found["notes"])))
    assert used == [(True, "shared-prefix sampler", 0), (False, "generate sampler", 1)]


def test_a_model_that_cannot_be_trained_or_loaded_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    model = BertLMHeadModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert main(["doctor", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "BertLMHeadModel" in said.out
    assert "sampling" not in said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("r2vpo: error: ")]
    assert "the model is not causal" in line
    assert main(["doctor", "nobody/no-such-model"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "'nobody/no-such-model'" in said.err.strip().splitlines()[-1]


@pytest.mark.parametrize("recipe", ["dpo_quickstart", "my.yaml"])
def test_a_recipe_is_not_looked_for_as_a_model(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", recipe]) == 2
    assert f"{recipe} is a recipe, and doctor examines models: name that of its model.name" in capsys.readouterr().err


def test_what_a_recipe_would_refuse_is_said_behind_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(name: str, tokenizer: object, *options: str, **settings: int) -> str:
        folder = tmp_path / name
        tiny_model(**settings).save_pretrained(folder)
        tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
        assert main(["doctor", str(folder), *options]) == 2
        said = capsys.readouterr()
        assert "\ntraining  the shared-prefix forward\n" in said.out
        return said.err.splitlines()[-1]

    tokenizer = tiny_tokenizer()
    assert "more than the 32 positions of this model" in told(
        "short", tokenizer, "--longest", "33", max_position_embeddings=32
    )
    tokenizer.add_tokens(["<more>"])
    assert "1 tokens beyond the model's" in told("wide", tokenizer)
    assert main(["doctor", str(tmp_path / "wide"), "--json"]) == 2
    assert "1 tokens beyond" in json.loads(capsys.readouterr().out)["unfit"]
    bare = tiny_tokenizer()
    bare.pad_token = bare.eos_token = None
    assert "has no padding token" in told("bare", bare)
    assert main(["doctor", str(tmp_path / "short"), "--longest", "32"]) == 0


def test_options_of_a_model_want_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--longest", "30"]) == 2
    assert "--longest is about a model: name it" in capsys.readouterr().err


def test_code_of_a_model_runs_when_it_is_allowed_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    separate_modules(monkeypatch, tmp_path / "modules")
    folder = custom_model_folder(tmp_path / "model", tiny_tokenizer())
    assert main(["doctor", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "set model.trust_remote_code=true" in said.err
    assert main(["doctor", str(folder), "--trust-remote-code"]) == 0
    assert ": BiasedForCausalLM, " in capsys.readouterr().out

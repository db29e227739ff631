"""What a MODEL_OR_RUN argument means, on real folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from r2vpo.checkpoint_files import write_list
from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import create_run
from r2vpo.errors import UserError
from r2vpo.evaluation.subject import find_subject, load_subject, stops_of_training
from tests.integration.evaluation import write_model
from tests.tiny import tiny_model, tiny_tokenizer

RECIPE = """\
name: small
model: {{name: {model}}}
data: {{source: reasoning_gym, mixture: [{{family: chain_sum, difficulty: easy}}]}}
rollout: {{stop: ["="]}}
"""
IDS = torch.tensor([[5, 12, 7, 14]])


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def load(name, stop=()):
    return load_subject(find_subject(str(name)), device="cpu", dtype="float32", stop=stop)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.format(model=write_model(tmp_path / "tiny")))
    return create_run(load_recipe(path), tmp_path / "runs").path


def test_a_runs_last_checkpoint(run: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint yet"):
        find_subject(str(run))
    for step in (9, 10):
        checkpoint = write_model(run / "checkpoints" / f"checkpoint-{step}", seed=step)
    model = tiny_model(10)
    model.generation_config.eos_token_id = [1, 14]  # as training leaves it: "=" ends a completion
    model.save_pretrained(checkpoint)
    write_list(checkpoint, name=checkpoint.name)
    found, _, ends = load(run)
    torch.testing.assert_close(logits(found), logits(tiny_model(10)))
    assert ends == [1], "what ended a completion in training is not what ends one here"
    assert load(run, stop=["+"])[2] == [1, 12]
    assert find_subject(str(run)).weights == str(checkpoint)
    assert find_subject(str(run)).label == run.name
    subject = find_subject(str(run))
    assert stops_of_training(subject, tiny_tokenizer(), [1]) == ["="]
    assert stops_of_training(subject, tiny_tokenizer(), [1, 14]) == []
    base = tiny_model()
    base.generation_config.eos_token_id = [1, 14]
    base.save_pretrained(run.parents[1] / "tiny")
    assert sorted(load(run)[2]) == [1, 14], "what also ends the base model's answers ends them here"
    (checkpoint / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"model\.safetensors is damaged: it has 9 bytes of \d+: no earlier checkpoint"):
        find_subject(str(run))


def test_adapters_of_a_run_and_of_a_folder(run: Path, tmp_path: Path) -> None:
    adapted = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(0))
    expected = logits(adapted)
    assert (expected - logits(tiny_model())).abs().max() > 0.01
    checkpoint = run / "checkpoints" / "checkpoint-4"
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "tiny")
    adapted.save_pretrained(checkpoint)
    write_list(checkpoint, name=checkpoint.name)
    for name in (run, checkpoint):
        found, tokenizer, _ = load(name)
        torch.testing.assert_close(logits(found), expected, rtol=1e-4, atol=1e-5)
        assert tokenizer("1+2")["input_ids"] == tiny_tokenizer()("1+2")["input_ids"]


@pytest.mark.parametrize(("files", "words"), [
    ({"completions.jsonl": ""}, "this is an evaluation"),
    ({"adapter_config.json": "{}"}, "base_model_name_or_path is missing"),
    ({"adapter_config.json": "no"}, "not the settings of adapters"),
])  # fmt: skip
def test_folders_that_are_no_model(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        find_subject(str(tmp_path))

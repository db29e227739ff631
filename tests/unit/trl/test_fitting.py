"""In Python too: whole weights, a tokenizer of the model's tokens, an end, and room for every prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import LlamaForSequenceClassification

from r2vpo.errors import UserError
from r2vpo.trl import R2VPOTrainer, fitting
from tests.tiny import VOCABULARY, even_digits, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer, tiny_trainer

LONG = "1+" * 62


def built(folder: Path, **changes: Any) -> R2VPOTrainer:
    parts: dict[str, Any] = dict(
        model=tiny_model(),
        reward_funcs=even_digits,
        train_dataset=tiny_dataset(),
        processing_class=tiny_tokenizer(),
        args=tiny_config(folder),
    )
    return R2VPOTrainer(**(parts | changes))


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as raised:
        built(folder, **changes)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def without(folder: Path, key: str) -> Path:
    file = folder / "model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if name != key}, file, metadata={"format": "pt"})
    return folder


def test_models_and_reward_models_by_name_are_whole(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "policy")
    tiny_tokenizer().save_pretrained(tmp_path / "policy")
    assert built(tmp_path, model=str(tmp_path / "policy")).state.global_step == 0
    line = refused(tmp_path, model=str(without(tmp_path / "policy", "lm_head.weight")))
    assert line.startswith("model '") and "has no weights for lm_head.weight" in line
    config = tiny_model(num_labels=1).config
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "reward")
    tiny_tokenizer().save_pretrained(tmp_path / "reward")
    built(tmp_path, reward_funcs=str(tmp_path / "reward"))
    line = refused(tmp_path, reward_funcs=str(without(tmp_path / "reward", "score.weight")))
    assert line.startswith("reward_funcs: '") and "has no weights for score.weight" in line


def test_tokenizers_that_do_not_fit(tmp_path: Path) -> None:
    line = refused(tmp_path, model=tiny_model(vocab_size=len(VOCABULARY) - 1))
    assert line.startswith("LlamaForCausalLM: its tokenizer has 1 tokens beyond")
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    line = refused(tmp_path, model=tiny_model(eos_token_id=None), processing_class=tokenizer)
    assert "no token ends an answer" in line and "or set model.generation_config.eos_token_id" in line
    tokenizer.pad_token = None
    assert "has no padding token" in refused(
        tmp_path, model=tiny_model(eos_token_id=None, pad_token_id=None), processing_class=tokenizer
    )


@pytest.mark.parametrize("sampler", ["shared_prefix", "trl"])
def test_an_end_that_the_model_alone_declares_is_enough(tmp_path: Path, sampler: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    trainer = built(tmp_path, processing_class=tokenizer, args=tiny_config(tmp_path, rollout=sampler, max_steps=1))
    assert trainer.eos_token_ids == [1]
    trainer.train()
    assert trainer.state.global_step == 1


def test_prompts_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Dataset.from_dict({"prompt": ["1+1=", LONG, "2+2="]})
    said = r"max_completion_length = 6 after the prompt of train_dataset 1 of 124 tokens, '1\+1\+.*128 positions"
    with pytest.raises(UserError, match=said + r".*: lower it to at most 4, or leave prompts of more than 122"):
        built(tmp_path, train_dataset=rows)
    with pytest.raises(UserError, match="the prompt of eval_dataset 1 of 124 tokens"):
        built(tmp_path, eval_dataset=rows)
    with pytest.raises(UserError, match="the prompt of other 1 of 124 tokens"):
        built(tmp_path, eval_dataset={"other": rows})
    # The longest by characters are measured, however few.
    monkeypatch.setattr(fitting, "MEASURED", 1)
    with pytest.raises(UserError, match=said):
        built(tmp_path, train_dataset=rows)
    iterable = Dataset.from_dict({"prompt": [LONG] * 4 + ["1+1="] * 60}).to_iterable_dataset()
    args = tiny_config(tmp_path, max_steps=1)
    trainer = built(tmp_path, train_dataset=iterable, args=args)
    with pytest.raises(UserError, match=r"after the prompt of row \d of 124 tokens"):
        trainer.train()


def test_rows_of_another_sampler_that_are_too_long(tmp_path: Path) -> None:
    def long(prompts: list[str], trainer: Any) -> dict[str, Any]:
        return {
            "prompt_ids": [[4] * 125 for _ in prompts],
            "completion_ids": [[5] * 5 for _ in prompts],
            "logprobs": [[-1.0] * 5 for _ in prompts],
        }

    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"row 0 of a round has 130 tokens, .* more than the 128 positions"):
        tiny_trainer(tmp_path, rollout_func=long).train()

"""The first sampled problem, shown before a step trains on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.replay import Group, Rollout
from r2vpo.training.sample import COMPLETION_CHARACTERS, PROMPT_CHARACTERS, describe_sample
from r2vpo.trl.sampled import SampledGroup, telling_group
from tests.calling import chat_tokenizer
from tests.tiny import parameters, tiny_trainer


def rollout(ids: list[int], reward: float) -> Rollout:
    tokens = torch.tensor(ids)
    return Rollout(tokens, torch.ones(len(ids), dtype=torch.bool), torch.zeros(len(ids)), 0.0, reward)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return chat_tokenizer()


def sampled(
    tokenizer: Any, prompt: str, completions: list[str], rewards: list[float], answer: Any = "7"
) -> SampledGroup:
    ids = [tokenizer.encode(text) for text in completions]
    rows = [rollout(one, reward) for one, reward in zip(ids, rewards, strict=True)]
    scores = [{"exact": reward, "format": None} for reward in rewards]
    return SampledGroup(Group(0, 0, torch.tensor(tokenizer.encode(prompt)), rows), scores, answer)


def test_prompt_completion_and_reward(tokenizer: Any) -> None:
    prompt = "<|im_start|>user\n3 + 4?<|im_end|>\n"
    found = sampled(tokenizer, prompt, ["8<|im_end|>", "It is\n7\x1b[31m", "9"], [0.0, 1.0, 0.0])
    ends = [tokenizer.eos_token_id]
    lines = describe_sample(found, tokenizer, ends=ends, longest=50)
    assert lines[0].startswith("sample of the first round, before any training; its prompt of ")
    assert lines[1:4] == ["    <|im_start|>user", "    3 + 4?<|im_end|>", "    "]
    assert "cut off, of 3 the one with the highest reward:" in lines[4]
    # What would change the terminal is written as an escape.
    assert lines[5:7] == ["    It is", "    7\\x1b[31m"]
    assert lines[7:] == [
        "reference answer: '7'",
        "its reward: exact 1, format none; weighted sum 1",
        "rewards of all 3: 0, 1, 0",
    ]
    only = sampled(tokenizer, prompt, ["8<|im_end|>"], [0.0], answer="")
    lines = describe_sample(only, tokenizer, ends=ends, longest=50)
    assert any("ended by '<|im_end|>'" in line for line in lines) and not any("reference" in line for line in lines)


def test_long_texts_are_cut_in_the_middle(tokenizer: Any) -> None:
    found = sampled(tokenizer, "a" * 5000 + "Z", ["b" * 4000], [0.0])
    text = "\n".join(describe_sample(found, tokenizer, ends=[], longest=4000))
    assert len(text) < PROMPT_CHARACTERS + COMPLETION_CHARACTERS + 600
    assert "[... 3401 characters ...]" in text and "aZ\n" in text and "cut off at rollout.max_new_tokens = 4000" in text


def test_the_group_that_tells_most_is_shown() -> None:
    groups = [Group(place, 0, torch.tensor([place]), [rollout([1], one) for one in rewards])
              for place, rewards in enumerate([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])]  # fmt: skip
    scores = [[0.0, float("nan")], [0.0, 2.0], [0.0, 3.0], [1.0, 4.0], [1.0, 5.0], [0.0, 6.0]]
    rows = [{"answer": str(place)} for place in range(6)]
    found = telling_group(groups, scores, ["a", "b"], rows)
    assert (found.group, found.answer) == (groups[1], "2")
    assert found.scores == [{"a": 0.0, "b": 3.0}, {"a": 1.0, "b": 4.0}]
    first = telling_group(groups[:1], scores, ["a", "b"], rows)
    assert (first.group, first.scores[0], first.answer) == (groups[0], {"a": 0.0, "b": None}, "0")


def test_it_is_shown_once_before_the_first_step_and_changes_nothing(tmp_path: Path) -> None:
    steps: list[int] = []
    plain, shown = (tiny_trainer(tmp_path / name, max_steps=4) for name in ("plain", "shown"))

    def show(group: SampledGroup) -> None:
        steps.append(shown.state.global_step)
        describe_sample(group, shown.processing_class, ends=shown.eos_token_ids, longest=6)

    shown.show_sample = show
    for trainer in (plain, shown):
        trainer.train()
    assert steps == [0]
    first, second = parameters(plain.model), parameters(shown.model)
    assert all(torch.equal(first[name], second[name]) for name in first)

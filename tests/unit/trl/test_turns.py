"""Tools and environments, which answer between two turns of a response, with the trainer's default options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from r2vpo.errors import UserError
from r2vpo.trl import R2VPOTrainer
from tests.calling import calling_model, chat_tokenizer, multiply
from tests.tiny import tiny_config

ASK = [{"role": "user", "content": "3 times 4"}]


def answered(completions: list[Any], **_: Any) -> list[float]:
    """The share of a response's messages that are a tool's with the right answer."""
    return [float(any(m["role"] == "tool" and m["content"] == "12" for m in messages)) for messages in completions]


def trainer_of(folder: Path, *, reward: Any = answered, data: Any = "given", config: Any = None, **given: Any) -> Any:
    tokenizer = chat_tokenizer()
    options = dict(max_completion_length=300, max_steps=2, learning_rate=1e-2, max_tool_calling_iterations=1)
    rows = Dataset.from_dict({"prompt": [ASK] * 8}) if isinstance(data, str) else data
    return R2VPOTrainer(
        calling_model(tokenizer),
        reward,
        tiny_config(folder, **(options | (config or {}))),
        rows,
        processing_class=tokenizer,
        **given,
    )


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def finished(trainer: Any) -> None:
    before = trainer.model.lm_head.weight.detach().clone()
    trainer.train()
    assert trainer.state.global_step == 2
    assert not torch.equal(before, trainer.model.lm_head.weight)
    assert trainer.counters["non_finite_steps"] == 0
    assert all(abs(v) < 1e-9 for v in logged(trainer, "ratio_variance")[:1]), "V is 0 at a round's first step"
    assert trainer.replay.statistics().rows > 0


async def multiply_later(a: int, b: int) -> int:
    """Multiply two integers.

    Args:
        a: The first.
        b: The second.
    """
    return a * b


multiply_later.__name__ = "multiply"


@pytest.mark.parametrize("tool", [multiply, multiply_later], ids=["now", "later"])
def test_tools_are_called_with_default_options(tmp_path: Path, tool: Any) -> None:
    with pytest.warns(UserWarning, match="tools: responses of several turns are sampled by TRL, with rollout='trl'"):
        trainer = trainer_of(tmp_path, tools=[tool])
    assert trainer.args.rollout.sampler == "trl"
    finished(trainer)
    assert logged(trainer, "tools/call_frequency")[0] > 0
    assert 0 < logged(trainer, "tools/failure_frequency")[0] < 1, "one of two calls lacks an argument"
    assert 0 < logged(trainer, "reward")[0] < 1


def test_what_a_tool_answers_is_not_trained_on(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, tools=[multiply])
    seen = []
    begin = trainer.learner.begin_round

    def spy(*given: Any) -> int:
        reused = begin(*given)
        seen.extend(row for micro in trainer.learner.micros for row in micro.rollouts)
        return reused

    trainer.learner.begin_round = spy
    trainer.train()
    decode = trainer.processing_class.decode
    answers = [decode(row.response_ids[~row.response_mask]) for row in seen]
    assert any("<tool_response>\n12\n</tool_response>" in text for text in answers)
    assert not any("<tool_response>" in decode(row.response_ids[row.response_mask]) for row in seen)


def test_older_weights_and_tools_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rollout.lag = 1 .* takes no tools: set rollout.lag to 0"):
        trainer_of(tmp_path, tools=[multiply], config={"rollout": {"lag": 1}, "replay": 0})


class Counter:
    """Gives each of its rows another prompt."""

    made = 0

    def __init__(self) -> None:
        Counter.made += 1
        self.number, self.products = Counter.made, []

    def reset(self, **_: Any) -> str:
        self.products = []
        return f", row {self.number}"

    def multiply(self, a: int, b: int) -> int:
        """Multiply two integers.

        Args:
            a: The first.
            b: The second.
        """
        self.products.append(a * b)
        return a * b


class Scored(Counter):
    """Owns its reward."""

    def get_reward(self) -> float:
        return float(sum(self.products))


class Silent:
    """Has no tools, and owns its prompts and its reward."""

    def reset(self, **_: Any) -> str:
        self.asked = torch.randint(0, 100, ()).item()
        return f"say {self.asked}"

    async def get_reward(self) -> float:
        return self.asked / 100


def prompts_of(trainer: Any) -> list[str]:
    texts: list[str] = []
    tokenize = trainer._tokenize_prompts

    def spy(prompts: list[Any]) -> Any:
        texts.extend(prompt[-1]["content"] for prompt in prompts)
        return tokenize(prompts)

    trainer._tokenize_prompts = spy
    trainer.train()
    return texts


def test_an_environment_gives_every_row_a_prompt_of_its_own(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="environment_factory: responses of several turns"):
        trainer = trainer_of(tmp_path, environment_factory=Counter)
    first = prompts_of(trainer)[:16]
    assert len(set(first)) == 16, first
    kept = trainer.replay.sample(16, 3)
    assert kept and all(len(group) == 1 for group in kept), "a stale row keeps the prompt that it answered"


def test_an_environment_may_own_its_reward(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, reward=None, environment_factory=Scored)
    finished(trainer)
    assert 0 < logged(trainer, "rewards/Scored/mean")[0] < 12
    assert trainer.reward_funcs[-1](environments=[trainer.environments[0], Counter()])[1] is None


def test_an_environment_without_tools_may_own_data_and_reward(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, reward=None, data=None, environment_factory=Silent)
    assert len(set(prompts_of(trainer))) > 8
    assert trainer.state.global_step == 2
    assert 0 < logged(trainer, "reward")[0] < 1


def test_the_reward_of_an_environment_is_guarded(tmp_path: Path) -> None:
    class Broken(Scored):
        def get_reward(self) -> float:
            raise KeyError("gold")

    trainer = trainer_of(tmp_path, reward=None, environment_factory=Broken)
    with pytest.raises(UserError, match="'Broken' raised KeyError"):
        trainer.train()


def test_no_source_of_reward_is_told_in_a_line(tmp_path: Path) -> None:
    for reward in (None, []):
        with pytest.raises(ValueError, match="No reward source provided") as caught:
            trainer_of(tmp_path, reward=reward)
        assert "\n" not in str(caught.value)

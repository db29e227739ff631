"""Grading greedy answers."""

import json
from dataclasses import dataclass

import pytest

from r2vpo.data import PromptRow
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.errors import UserError
from r2vpo.evaluation import evaluate
from r2vpo.rewards import load_reward
from tests.calling import chat_tokenizer


class Letters:
    """A tokenizer of characters, 0 as its end token."""

    def __call__(self, text):
        return {"input_ids": [ord(letter) for letter in text]}

    def apply_chat_template(self, messages, *, add_generation_prompt, tokenize, return_dict):
        assert add_generation_prompt and tokenize and return_dict
        return self("".join(f"<{message['role']}>{message['content']}" for message in messages) + "<assistant>")

    def decode(self, ids, *, skip_special_tokens):
        return "".join(chr(token) for token in ids if token or not skip_special_tokens)


@dataclass
class Answered:
    response_ids: list
    log_probs: list
    finished: bool


class Adder:
    """A sampler that adds digits rightly, unless the sum has two digits."""

    def greedy(self, prompts):
        texts = ["".join(map(chr, ids)) for ids in prompts]
        sums = [int(text[0]) + int(text[4]) for text in texts]
        return [
            Answered([ord(letter) for letter in f" {value % 10}"] + [0] * (value < 10), [], value < 10)
            for value in sums
        ]


ROWS = [
    PromptRow(prompt=f"{a} + {b} =", answer=str(a + b), difficulty="carry" if a + b > 9 else "plain")
    for a, b in [(1, 2), (9, 9), (4, 5), (7, 7), (3, 3)]
]


def test_accuracy_by_difficulty():
    result = evaluate(Adder(), Letters(), ROWS, load_reward("exact"))
    assert result.correct() == [True, False, True, False, True]
    assert (result.accuracy.value, result.accuracy.n) == (0.6, 5)
    assert {name: interval.value for name, interval in result.by_difficulty.items()} == {
        "carry": 0.0,
        "plain": 1.0,
    }
    first, second = result.completions[:2]
    assert (first.completion, first.tokens, first.finished, first.score) == (" 3", 3, True, 1.0)
    assert (second.completion, second.correct, second.finished) == (" 8", False, False)


def test_json():
    result = evaluate(Adder(), Letters(), ROWS, load_reward("exact"))
    record = json.loads(json.dumps(result.to_json()))
    assert set(record) == {"accuracy", "by_difficulty"}
    assert set(record["accuracy"]) == {"value", "low", "high", "n"}
    assert json.loads(json.dumps(result.completions[0].to_json()))["answer"] == "3"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, []), (3, ["1 + 2 =", "9 + 9 =", "4 + 5 ="]), (100, ["1 + 2 =", "9 + 9 =", "4 + 5 =", "7 + 7 ="])],
)
def test_completions_are_shown_in_turns_of_the_difficulties(count, expected):
    result = evaluate(Adder(), Letters(), ROWS, load_reward("exact"))
    assert [completion.prompt for completion in result.shown(count)] == expected


def test_partial_rewards_count_from_a_threshold():
    def half(completions, **_):
        return [0.5, None, 1.0, 0.0, 0.5]

    assert evaluate(Adder(), Letters(), ROWS, half).accuracy.value == 0.2
    assert evaluate(Adder(), Letters(), ROWS, half, correct_at=0.5).accuracy.value == 0.6


def test_chat_prompts_take_the_template():
    chat = [{"role": "user", "content": "hi"}]
    assert Letters().decode(encode_prompt(Letters(), chat), skip_special_tokens=True) == "<user>hi<assistant>"
    assert encode_prompt(Letters(), "ab") == [97, 98]


def test_the_template_is_told_what_the_trainer_tells_it():
    tokenizer, chat = chat_tokenizer(), [{"role": "user", "content": "hi"}]
    quiet = {"enable_thinking": False}
    plain, told = encode_prompt(tokenizer, chat), encode_prompt(tokenizer, chat, quiet)
    assert tokenizer.decode(told[len(plain) :]) == "<think>\n\n</think>\n\n" and told[: len(plain)] == plain

    class Asked(Adder):
        def greedy(self, prompts):
            assert prompts == [told]
            return super().greedy([[ord(letter) for letter in "1 + 2 ="]])

    rows = [PromptRow(prompt=chat, answer="3", difficulty=None)]
    evaluate(Asked(), tokenizer, rows, load_reward("exact"), chat_template_kwargs=quiet)


def test_what_cannot_be_graded():
    with pytest.raises(UserError, match=r"data\.held_out"):
        evaluate(Adder(), Letters(), [], load_reward("exact"))

    def short(**_):
        return [1.0]

    with pytest.raises(UserError, match="'short' returns 1 rewards for 5"):
        evaluate(Adder(), Letters(), ROWS, short)

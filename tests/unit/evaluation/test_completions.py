"""Greedy and sampled answers and their grades: of a sampler that adds digits, and of a real, tiny model."""

from dataclasses import dataclass, field

import pytest

from r2vpo.data import PromptRow
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.errors import UserError
from r2vpo.evaluation import Answered, evaluate, measure, measure_by_difficulty
from r2vpo.evaluation.completions import problem_seed
from r2vpo.rewards import load_answer_finder, load_reward
from r2vpo.sampling import SharedPrefixSampler
from tests.calling import chat_tokenizer
from tests.tiny import tiny_model, tiny_tokenizer


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
class Drawn:
    response_ids: list
    finished: bool
    entropies: list = field(default_factory=list)


class Adder:
    """A sampler that adds digits rightly, unless the sum has two digits."""

    def greedy(self, prompts):
        texts = ["".join(map(chr, ids)) for ids in prompts]
        sums = [int(text[0]) + int(text[4]) for text in texts]
        return [Drawn([ord(letter) for letter in f" {value % 10}"] + [0] * (value < 10), value < 10) for value in sums]


ROWS = [
    PromptRow(prompt=f"{a} + {b} =", answer=str(a + b), difficulty="carry" if a + b > 9 else "plain")
    for a, b in [(1, 2), (9, 9), (4, 5), (7, 7), (3, 3)]
]


def test_grades_and_accuracy_by_difficulty():
    found = evaluate(Adder(), Letters(), ROWS, load_reward("exact"))
    assert [one.greedy.correct for one in found] == [True, False, True, False, True]
    accuracy = measure(found).accuracy
    assert (accuracy.value, accuracy.n) == (0.6, 5)
    assert {name: measures.accuracy.value for name, measures in measure_by_difficulty(found).items()} == {
        "carry": 0.0,
        "plain": 1.0,
    }
    first, second = (one.greedy for one in found[:2])
    assert (first.text, first.tokens, first.finished, first.score, first.entropy) == (" 3", 3, True, 1.0, 0.0)
    assert (second.text, second.correct, second.finished) == (" 8", False, False)
    assert all(one.samples == [] and one.greedy.answer is None for one in found)
    assert [one.right for one in found] == [row.answer for row in ROWS]


def test_partial_rewards_count_from_a_threshold():
    def half(completions, **_):
        return [0.5, None, 1.0, 0.0, 0.5]

    assert measure(evaluate(Adder(), Letters(), ROWS, half)).accuracy.value == 0.2
    assert measure(evaluate(Adder(), Letters(), ROWS, half, correct_at=0.5)).accuracy.value == 0.6


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


SUMS = [PromptRow(f"{i}+{i}=", str(2 * i), difficulty="even" if i % 2 == 0 else "odd") for i in range(6)]


def answers(rows, seed=3, samples=5):
    sampler = SharedPrefixSampler(tiny_model(), eos_token_ids=[1], pad_token_id=0, max_new_tokens=6, entropy=True)
    return evaluate(
        sampler,
        tiny_tokenizer(),
        rows,
        load_reward("exact"),
        samples=samples,
        seed=seed,
        find_answer=load_answer_finder("exact"),
    )


def test_a_problems_samples_depend_on_seed_and_prompt_alone():
    together = answers(SUMS)
    assert [one.problem for one in together] == list(range(6))
    assert all(len(one.samples) == 5 for one in together)
    for row, one in zip(SUMS, together, strict=True):
        (alone,) = answers([row])
        assert [a.text for a in alone.samples] == [a.text for a in one.samples]
        assert one.greedy.text == alone.greedy.text
    assert answers(SUMS) == together
    texts = [[a.text for a in one.samples] for one in together]
    assert texts != [[a.text for a in one.samples] for one in answers(SUMS, seed=4)]
    assert len({problem_seed(0, row) for row in SUMS}) == len(SUMS)
    assert any(a.entropy > 0 for one in together for a in one.samples)


def test_the_seeds_of_problems_are_those_of_folders_on_disk():
    assert problem_seed(5, PromptRow("1+1=", "2")) == 35973105742396193
    assert problem_seed(5, PromptRow([{"role": "user", "content": "1+1="}], "2")) == 33865629932092969


def test_a_record_is_read_back_equal():
    for one in answers(SUMS[:2]):
        assert Answered.from_json(one.to_json()) == one

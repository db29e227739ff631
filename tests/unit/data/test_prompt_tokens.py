"""Prompts that are too long are left out and counted."""

from __future__ import annotations

import pytest

from r2vpo.data import PromptData, PromptRow
from r2vpo.data.prompt_tokens import check_chats, encode_prompt, longest_prompt, prompt_lengths, without_long_prompts
from r2vpo.errors import UserError
from r2vpo.models import load_tokenizer


def test_the_limit_is_in_tokens() -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    short, long = PromptRow("2 + 2 =", "4"), PromptRow("2 + 2 + 2 + 2 =", "8")
    tokens = [len(tokenizer(str(row.prompt))["input_ids"]) for row in (short, long)]
    assert tokens[0] < tokens[1]
    data = PromptData(train=[short, long, long], held_out=[long, short], left_out={"x": 1})
    kept = without_long_prompts(data, tokenizer, tokens[1] - 1)
    assert (kept.train, kept.held_out) == ([short], [short])
    assert kept.left_out == {
        "x": 1,
        f"training prompts longer than {tokens[1] - 1} tokens": 2,
        f"held-out prompts longer than {tokens[1] - 1} tokens": 1,
    }
    assert without_long_prompts(data, tokenizer, tokens[1]) == data
    with pytest.raises(UserError, match=rf"= {tokens[0] - 1}: all 3 training .* the shortest has {tokens[0]} tokens"):
        without_long_prompts(data, tokenizer, tokens[0] - 1)


def test_the_longest_prompt_to_train_on() -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    short, long = PromptRow("2 + 2 =", "4"), PromptRow("2 + 2 + 2 + 2 =", "8")
    tokens = [len(tokenizer(str(row.prompt))["input_ids"]) for row in (short, long)]
    assert longest_prompt(PromptData(train=[short, long], held_out=[short]), tokenizer) == tokens[1]
    assert longest_prompt(PromptData(train=[short], held_out=[long]), tokenizer) == tokens[0]


def test_chats_that_a_tokenizer_cannot_write_are_refused() -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    chats = [[{"role": role, "content": "1 + 1?"}] for role in ("user", "user", "wizard")]

    def said(template: str | None) -> str:
        tokenizer.chat_template = template
        with pytest.raises(UserError) as caught:
            check_chats(["2 + 2 =", *chats], tokenizer, key="data", remedy="write texts")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert said(None) == "data: this model's tokenizer has no chat template, and the prompts are chats: write texts"
    line = said("{% if messages[0].role != 'user' %}{{ raise_exception('no such\nrole') }}{% endif %}")
    assert "cannot format a chat of wizard (TemplateError: no such role): write texts" in line
    tokenizer.chat_template = "{{ messages[0].content }}"
    check_chats(["2 + 2 =", *chats], tokenizer, key="data", remedy="write texts")
    tokenizer.chat_template = None
    check_chats(["2 + 2 ="], tokenizer, key="data", remedy="write texts")


def test_a_chat_is_encoded_with_its_template_and_a_text_as_it_is() -> None:
    tokenizer = load_tokenizer("tiny/random-llama")
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    prompts = ["2 + 2 =", [{"role": "user", "content": "1 + 1?"}], "10"]
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    assert [tokenizer.decode(ids) for ids in encoded] == ["2 + 2 =", "<user>1 + 1?<assistant>", "10"]
    assert prompt_lengths(prompts, tokenizer) == [len(ids) for ids in encoded]

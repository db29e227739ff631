"""Chat or text: the form in which a model is given prompts that are texts. `r2vpo train` and `r2vpo eval` share it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from r2vpo.data.options import PromptFormat
from r2vpo.data.rows import PromptRow

_MARK = "an answer"
_LOOKED_AT = 100
"""Number of prompts in which the chat template's own tokens are looked for."""


@dataclass(frozen=True)
class PromptForm:
    """The form that was chosen.

    Attributes:
        is_chat: whether the model is given the prompts as chats, through its chat template.
        format: what `data.format` stands for: what the user wrote, or what was chosen for `auto`.
        note: what was chosen and why, for the user.
    """

    is_chat: bool
    format: Literal["chat", "text"]
    note: str


def choose_form(
    wanted: PromptFormat, rows: Sequence[PromptRow], tokenizer: Any, ends: Collection[int], *, key: str = "data.format"
) -> PromptForm:
    """Decide whether a model is given prompts as chats or as plain text.

    With `auto`, a text becomes a chat if the tokenizer has a chat template, the token with which that template ends an
    answer also ends the model's completions (a base model whose tokenizer happens to have a template never writes that
    token), and the prompts do not already contain the template's tokens.

    Args:
        wanted: what the user wrote.
        rows: the problems; prompts that are lists of messages are chats in any case.
        tokenizer: the model's.
        ends: ids that end the model's completions.
        key: the setting, for the note.
    """
    through = "through the model's chat template"
    if rows and isinstance(rows[0].prompt, list):
        return PromptForm(True, "text" if wanted == "text" else "chat", f"prompts are chats, given {through}")
    reason = _not_for_chat(rows, tokenizer, ends)
    if wanted == "chat":
        return PromptForm(True, "chat", f"prompts are given as chats, {through}, because {key} = chat")
    if wanted == "text":
        advice = "" if reason else f"; this model was trained on chats, and {key}=chat would give it one"
        return PromptForm(False, "text", f"prompts are given as plain text, because {key} = text{advice}")
    if reason is not None:
        return PromptForm(
            False, "text", f"prompts are given as plain text, because {reason} ({key}=chat forces a chat)"
        )
    return PromptForm(
        True,
        "chat",
        f"prompts are given as chats, {through}, because this model was trained on chats ({key}=text: plain text)",
    )


def as_chats(rows: Sequence[PromptRow]) -> list[PromptRow]:
    """Turn prompts that are texts into chats: a user's message, after the turns of solved examples if there are any."""
    return [
        replace(row, prompt=row.chat or [{"role": "user", "content": row.prompt}], chat=None)
        if isinstance(row.prompt, str)
        else row
        for row in rows
    ]


def answer_end(tokenizer: Any) -> int | None:
    """Return the token with which a chat template ends an answer; None without a template or such a token."""
    chat = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": _MARK}]
    text = _rendered(tokenizer, chat).rpartition(_MARK)[2].lstrip()
    known = {
        **tokenizer.get_added_vocab(),
        **dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)),
    }
    found = max((token for token in known if token and text.startswith(token)), key=len, default=None)
    return None if found is None else int(known[found])


def _not_for_chat(rows: Sequence[PromptRow], tokenizer: Any, ends: Collection[int]) -> str | None:
    """Say why `auto` means plain text, or return None."""
    if not getattr(tokenizer, "chat_template", None):
        return "the model's tokenizer has no chat template"
    end = answer_end(tokenizer)
    if end is not None and end not in ends:
        return (
            f"its chat template ends an answer with {tokenizer.convert_ids_to_tokens(end)!r}, which does not end a "
            "completion of this model: it is a base model"
        )
    question = _rendered(tokenizer, [{"role": "user", "content": "a question"}])
    marks = [token for token in tokenizer.get_added_vocab() if len(token) > 3 and token in question]
    texts = [row.prompt for row in rows[:_LOOKED_AT] if isinstance(row.prompt, str)]
    own = next((mark for mark in marks if any(mark in text for text in texts)), None)
    return None if own is None else f"they already contain {own!r}, a token of the model's chat template"


def _rendered(tokenizer: Any, chat: list[dict[str, str]]) -> str:
    if not getattr(tokenizer, "chat_template", None):
        return ""
    try:
        return str(
            tokenizer.apply_chat_template(chat, add_generation_prompt=chat[-1]["role"] == "user", tokenize=False)
        )
    except Exception:  # a template is a program and can raise anything; `check_chats` reports it
        return ""

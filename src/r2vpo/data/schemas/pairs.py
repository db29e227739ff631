"""Layouts of preferences: a prompt, or the dialogue before, and two answers of which one is preferred."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from r2vpo.data.rows import Pair, Prompt, PromptRow
from r2vpo.data.schemas.base import BadRow, Columns, Record, Skip, prompt_of, shown, value_of

SAME, EMPTY = "with two equal answers", "with an empty answer"
DIFFER, OUT_OF_TURN = "that differ before the last answer", "with an empty turn, or two of one side in a row"
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
SCORES = ("score", "overall_score", "fine-grained_score")
"""Columns of a completion that may hold its score."""


def pairs(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row with a prompt and two answers, each a text or a list of messages.

    Lists may begin with the prompt's messages, as those of UltraFeedback in pairs do, or hold the whole dialogue if
    there is no prompt. What differs has to be one message of the assistant.

    Raises:
        BadRow: A column is missing or holds something else.
    """
    answers = [_answer(record, column) for column in (columns.chosen, columns.rejected)]
    if all(isinstance(answer, str) for answer in answers):
        if columns.prompt not in record:
            dialogues = ", or data.schema=hh for dialogues" if all(ASSISTANT in answer for answer in answers) else ""
            raise BadRow(
                f"has no column {columns.prompt!r}, its columns are {', '.join(map(repr, record))}: set "
                f"data.prompt_column{dialogues}"
            )
        return pair_of(PromptRow(prompt_of(record, columns.prompt), ""), *answers)
    if not all(isinstance(answer, list) for answer in answers):
        wrong = next((place for place, answer in enumerate(answers) if not isinstance(answer, str | list)), 1)
        raise BadRow(
            f"{(columns.chosen, columns.rejected)[wrong]!r} is {shown(answers[wrong])}: write both answers as texts, "
            "or both as lists of messages"
        )
    chosen, rejected = (prompt_of(record, column) for column in (columns.chosen, columns.rejected))
    assert isinstance(chosen, list) and isinstance(rejected, list), "prompt_of returns lists as lists"
    before = min(len(chosen), len(rejected)) - 1
    asked: Prompt = chosen[:before]
    if chosen[:before] != rejected[:before]:
        raise BadRow(
            f"{columns.chosen!r} and {columns.rejected!r} differ before their last message: write dialogues that are "
            "the same up to the assistant's last answer"
        )
    for column, answer in ((columns.chosen, chosen), (columns.rejected, rejected)):
        if len(answer) != before + 1 or answer[-1]["role"] != "assistant":
            raise BadRow(
                f"{column!r} has to end with one message of the assistant after what both have in common, and ends "
                f"with {shown(answer[before:])}: cut it there"
            )
    given = prompt_of(record, columns.prompt) if record.get(columns.prompt) is not None else None
    if not asked:
        if given is None:
            raise BadRow(
                f"has no column {columns.prompt!r}, and its answers do not begin with a prompt: set "
                "data.prompt_column, or write whole dialogues"
            )
        asked = given if isinstance(given, list) else [{"role": "user", "content": given}]
    elif given is not None and given != asked and not _is_said(given, asked):
        raise BadRow(f"{columns.prompt!r} differs from the messages with which both answers begin: correct that row")
    return pair_of(PromptRow(asked, ""), chosen[-1]["content"], rejected[-1]["content"])


def _answer(record: Record, column: str) -> Any:
    """Return an answer as the row has it.

    Raises:
        BadRow: There is no such column, or it is null.
    """
    if column not in record:
        raise BadRow(
            f"has no column {column!r}, its columns are {', '.join(map(repr, record)) or 'none'}: set "
            "data.chosen_column and data.rejected_column, or data.schema to the layout of your rows"
        )
    return value_of(record, column)


def _is_said(prompt: Prompt, chat: Prompt) -> bool:
    """Return whether a prompt that is a text is in a message of a dialogue."""
    said = [] if isinstance(chat, str) else [message["content"] for message in chat]
    return isinstance(prompt, str) and any(prompt.strip() in content for content in said)


def hh(record: Record, columns: Columns) -> PromptRow | Skip:
    r"""Read a row of HH: two dialogues as texts of turns that begin with `\n\nHuman:` and `\n\nAssistant:`.

    The prompt is what both have in common, up to the last `\n\nAssistant:` in it; as a chat, its turns are messages.
    The data set has rows of which nothing can be learnt about one answer; they are skipped.

    Raises:
        BadRow: A column is missing or holds no dialogue.
    """
    texts = [_answer(record, column) for column in (columns.chosen, columns.rejected)]
    for column, text in zip((columns.chosen, columns.rejected), texts, strict=True):
        if not isinstance(text, str) or ASSISTANT not in text or not text.lstrip().startswith(HUMAN.lstrip()):
            raise BadRow(
                f"{column!r} is {shown(text)}: write a dialogue of turns that begin with {HUMAN!r} and {ASSISTANT!r}, "
                "or set data.schema=pairs"
            )
    places = [text.rindex(ASSISTANT) + len(ASSISTANT) for text in texts]
    # One that says less may end with an earlier turn.
    place = min(places)
    prompt = texts[0][:place]
    if texts[1][:place] != prompt or HUMAN in texts[0][place:] or HUMAN in texts[1][place:]:
        return Skip(DIFFER)
    chat = [{"role": role, "content": said.strip()} for role, said in _turns(prompt.removesuffix(ASSISTANT))]
    in_turn = all(message["role"] == ("user", "assistant")[place % 2] for place, message in enumerate(chat))
    if not (in_turn and len(chat) % 2 and all(message["content"] for message in chat)):
        return Skip(OUT_OF_TURN)
    return pair_of(PromptRow(prompt, "", chat=chat), texts[0][place:], texts[1][place:])


def _turns(text: str) -> list[tuple[str, str]]:
    turns: list[tuple[str, str]] = []
    for part in text.split(HUMAN)[1:] if HUMAN in text else [text.partition(HUMAN.lstrip())[2]]:
        said, *answers = part.split(ASSISTANT)
        turns += [("user", said), *(("assistant", answer) for answer in answers)]
    return turns


def ultrafeedback(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of UltraFeedback: `instruction` (or the prompt's column), and `completions` with scores.

    A completion has a `response` and a score. Scores of one row are those of one column, since those of UltraFeedback
    have different scales: the first of `SCORES` in which a completion of the row has a number. The answer with the
    highest score is preferred to that with the lowest, of equal scores the first; answers without a score ("N/A", null,
    NaN) are not compared.

    Raises:
        BadRow: A column is missing or holds something else.
    """
    prompt = prompt_of(record, "instruction" if record.get(columns.prompt) is None else columns.prompt)
    completions = value_of(record, "completions")
    if not isinstance(completions, list) or not all(isinstance(one, dict) for one in completions):
        raise BadRow(f"'completions' is {shown(completions)}: write a list of objects with 'response' and 'score'")
    for number, one in enumerate(completions):
        if not isinstance(one.get("response"), str):
            raise BadRow(f"'response' of completion {number} is {shown(one.get('response'))}: write a text")
        if not any(name in one for name in SCORES):
            raise BadRow(f"completion {number} has no score: write a number as one of {', '.join(SCORES)}")
    by_column = (
        [(score, one["response"]) for one in completions if (score := _score(one.get(name))) is not None]
        for name in SCORES
    )
    scored = max(by_column, key=len)
    if len(scored) < 2:
        return Skip("with fewer than two completions that have a score")
    best, worst = max(scored, key=lambda one: one[0]), min(scored, key=lambda one: one[0])
    if best[0] == worst[0]:
        return Skip("whose completions all have one score")
    return pair_of(PromptRow(prompt, ""), best[1], worst[1])


def _score(score: Any) -> float | None:
    """Return a finite number, also one that is written as text; None for anything else."""
    if isinstance(score, bool) or not isinstance(score, int | float | str):
        return None
    try:
        number = float(score)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def pair_of(row: PromptRow, chosen: str, rejected: str) -> PromptRow | Skip:
    """Return a problem with a pair of answers, or why they do not make one."""
    if not chosen.strip() or not rejected.strip():
        return Skip(EMPTY)
    if chosen.strip() == rejected.strip():
        return Skip(SAME)
    return replace(row, pair=Pair(chosen, rejected))

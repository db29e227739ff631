"""Building of prompts from questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from r2vpo.data.rows import Prompt, PromptRow
from r2vpo.errors import UserError


def build_prompt(
    row: PromptRow,
    *,
    system_prompt: str | None,
    instruction: str | None,
    examples: Sequence[PromptRow],
    chat: bool = False,
) -> PromptRow:
    """Put system message, instruction and solved examples around a question.

    Args:
        row: the problem as read.
        system_prompt: system message, which turns a text into a chat; or None.
        instruction: template with `{question}` in place of the question; or None. In a chat it applies to the last
            message.
        examples: solved problems to show first, in the same form.
        chat: turn a text into a chat.

    Returns:
        The problem with its prompt. A text with examples also has its `chat`, which `r2vpo.data.prompt_format` may use.

    Raises:
        UserError: there are two system messages.
    """
    if not (chat or isinstance(row.prompt, list) or system_prompt is not None):
        shots = "".join(_joined(_asked(shot, instruction), solution_of(shot)) for shot in examples)
        turns = _chat(row, None, instruction, examples) if examples or row.chat else None
        question = _asked(row, instruction)
        return replace(row, prompt=shots + question, chat=turns, question=question if shots else None)
    return replace(row, prompt=_chat(row, system_prompt, instruction, examples))


def _chat(
    row: PromptRow, system_prompt: str | None, instruction: str | None, examples: Sequence[PromptRow]
) -> list[dict[str, str]]:
    messages = _messages(row.chat or row.prompt, instruction)
    if system_prompt is not None:
        if messages[0]["role"] == "system":
            raise UserError(
                f"data.system_prompt: a prompt of {row.source} already has a system message: leave "
                "data.system_prompt out"
            )
        messages = [{"role": "system", "content": system_prompt}, *messages]
    first = 1 if messages[0]["role"] == "system" else 0
    shown: list[dict[str, str]] = []
    for shot in examples:
        asked = [message for message in _messages(shot.prompt, instruction) if message["role"] != "system"]
        shown += [*asked, {"role": "assistant", "content": solution_of(shot)}]
    return messages[:first] + shown + messages[first:]


def solution_of(row: PromptRow) -> str:
    """Return what an example shows: the worked solution in the row's metadata if there is one, else the answer."""
    solution = row.metadata.get("solution")
    return solution if isinstance(solution, str) and solution.strip() else row.answer


def _asked(row: PromptRow, instruction: str | None) -> str:
    return _instructed(row.prompt if isinstance(row.prompt, str) else row.prompt[-1]["content"], instruction)


def _instructed(question: str, instruction: str | None) -> str:
    # Not format(): a question, or an instruction about \boxed{}, may contain braces.
    return question if instruction is None else instruction.replace("{question}", question)


def _messages(prompt: Prompt, instruction: str | None) -> list[dict[str, str]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": _instructed(prompt, instruction)}]
    last = prompt[-1]
    return [*prompt[:-1], {**last, "content": _instructed(last["content"], instruction)}]


def _joined(question: str, solution: str) -> str:
    gap = "" if question[-1:].isspace() else " "
    return f"{question}{gap}{solution}\n\n"

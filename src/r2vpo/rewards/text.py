r"""Find the answer in a model's text: thoughts and tags, the last box, the first line."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from r2vpo.boxes import last_box

# Tags of thoughts: DeepSeek-R1, Qwen and others write <think>, Magistral writes [THINK].
_THOUGHT = re.compile(r"<(/?)(?i:think|thinking|thought|reasoning)\s{0,3}>|\[(/?)THINK\]")
_ANSWER = re.compile(r"<(/?)answer\s{0,3}>", re.IGNORECASE)
_LEAD = re.compile(
    r"[*_#>\s]*(?:(?:so|thus|hence|therefore)\b,?\s+)?(?:(?:the|my|our)\s+)?(?:(?:final|correct)\s+)?(?:answer|ans\b\.?)\b"
    r"[*_]*(?:\s+is\b)?\s*[:=]?(?:[*_]+\s+|\s*)|#{4}\s*|(?:a:|=)\s*",
    re.IGNORECASE,
)
_WRAPPED = re.compile(
    r"(?P<mark>\*\*|__|`|\$|\"|')(?P<inner>[^*_`$\"']+)(?P=mark)|\\(?:text|textbf|mathrm|mathbf)\{(?P<text>[^{}]*)\}"
)
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def text_of(completion: Any) -> str:
    """Return the text of a completion or a prompt: of a chat, which is a list of messages, that of its last message.

    A reward that reads completions through it works with plain prompts and with chats.

    Args:
        completion: a string, or a list of messages.
    """
    if isinstance(completion, str):
        return completion
    return str(completion[-1].get("content") or "") if completion else ""


def outside_thoughts(text: str) -> tuple[str, bool]:
    """Return a text without its thoughts, and whether a thought in it never ends.

    A thought begins at `<think>` and ends at the next `</think>`; `<thinking>`, `<thought>`, `<reasoning>` and
    `[THINK]` are treated in the same way. A thought that never ends extends to the end of the text. The text before an
    end tag without a start tag is also a thought: the chat templates of reasoning models open the tag in the prompt.
    """
    if "<" not in text and "THINK]" not in text:
        return text, False
    kept: list[str] = []
    inside, start = False, 0
    for tag in _THOUGHT.finditer(text):
        closes = bool(tag[1] or tag[2])
        if closes and not inside:
            kept.clear()
        elif not inside:
            kept.append(text[start : tag.start()])
        inside = not closes
        start = tag.end()
    return "".join(kept if inside else [*kept, text[start:]]), inside


def without_thoughts(text: str) -> str:
    """Return a text without its thoughts, see `outside_thoughts`."""
    return outside_thoughts(text)[0]


def tagged_answer(text: str) -> str | None:
    """Return the content of a text's last `<answer>`, to the end of the text if it is not closed; None without one."""
    start, found = None, None
    for tag in _ANSWER.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start is not None:
            found, start = text[start : tag.start()], None
    found = text[start:] if start is not None else found
    return None if found is None else found.strip()


class AnswerPlace(NamedTuple):
    """The part of a text in which its answer is looked for.

    Attributes:
        region: the content of the last `<answer>`, or the whole text without one.
        is_tagged: whether there is such a tag.
        box: the content of the region's last box, or None.
    """

    region: str
    is_tagged: bool
    box: str | None


def answer_place(text: str) -> AnswerPlace:
    """Find the part of a text without thoughts in which its answer is looked for."""
    tagged = tagged_answer(text)
    region = text if tagged is None else tagged
    return AnswerPlace(region, tagged is not None, last_box(region))


def answer_block(completion: Any) -> str:
    """Return the text in which the answer is looked for: outside the thoughts, and in the last `<answer>` if any."""
    return _block(text_of(completion))


def first_line(completion: Any) -> str:
    """Return the first non-empty line of the answer block; if it contains a box, the content of the last box.

    Only a box in that line counts, unless there were thoughts or a tag: a model that only continues a text goes on to
    other problems, which have boxes too.
    """
    text = text_of(completion)
    block = _block(text)
    line = block.partition("\n")[0].strip()
    box = last_box(line if block == text.strip() else block)
    return line if box is None else box.strip()


def _block(text: str) -> str:
    said = without_thoughts(text)
    tagged = tagged_answer(said)
    return said.strip() if tagged is None else tagged


def first_answer(completion: Any) -> str:
    """Return the first line without "Answer:" before it, a full stop after it, or emphasis marks around it."""
    return bare(first_line(completion))


def bare(line: str) -> str:
    """Return a line without "Answer:" before it, a full stop after it, or emphasis marks around it."""
    line = _unwrapped(line.strip())
    lead = _LEAD.match(line)
    rest = line[lead.end() :] if lead else line
    return _unwrapped(rest.strip().rstrip(".").strip()).rstrip(".").strip()


def normalise(answer: str) -> str:
    """Return an answer in the form that is compared; case, spaces and thousands separators do not count."""
    text = " ".join(answer.translate(_DASHES).casefold().split())
    return _THOUSANDS.sub("", text).removesuffix(".")


def _unwrapped(text: str) -> str:
    wrapped = _WRAPPED.fullmatch(text)
    return (wrapped["inner"] or wrapped["text"] or "").strip() if wrapped else text

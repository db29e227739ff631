"""The completions of runs, each prompt once, for browsing and comparison on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r2vpo.report.data import RunData

LONGEST_TEXT = 20_000
"""Longer texts are cut in their middle, and the page says so."""

_SHORTEST_SHARED = 40


def completions(runs: Sequence[RunData], *, most: int | None = None, longest: int = LONGEST_TEXT) -> dict[str, Any]:
    """Return the completions of all evaluations.

    Args:
        runs: the runs.
        most: evaluations per run whose completions are kept, spread evenly and with the first and the last; None
            keeps all.
        longest: characters above which a text is cut.

    Returns:
        `problems`, each `[prompt, answer, difficulty]` without the beginning that they share; `shared`, that beginning;
        and `runs`, for each run its evaluations: `step`, `correct` (one character per problem of the evaluation) and
        `made`, null if it was left out, otherwise lists `[problem, text, correct, score, tokens, finished]`.
    """
    numbers: dict[tuple[str, str, str], int] = {}
    found = [
        [
            _evaluation(record, numbers, longest, keep=keep)
            for record, keep in zip(run.evaluations, _spread(len(run.evaluations), most), strict=True)
        ]
        for run in runs
    ]
    prompts = [prompt for prompt, _, _ in numbers]
    shared = shared_beginning(prompts)
    if len(shared) < _SHORTEST_SHARED:
        shared = ""
    problems = [
        [_cut(prompt[len(shared) :], longest), _cut(answer, longest), difficulty]
        for prompt, answer, difficulty in numbers
    ]
    return {"shared": _cut(shared, longest), "problems": problems, "runs": found}


def _spread(count: int, most: int | None) -> list[bool]:
    """Mark `most` of `count` places, evenly spread, the first and the last among them."""
    if most is None or count <= most:
        return [True] * count
    chosen = {round(turn * (count - 1) / max(most - 1, 1)) for turn in range(most)} | {0, count - 1}
    return [place in chosen for place in range(count)]


def _evaluation(
    record: Mapping[str, Any], numbers: dict[tuple[str, str, str], int], longest: int, *, keep: bool
) -> dict[str, Any]:
    made = []
    for one in (record.get("completions") or ()) if keep else ():
        problem = (text_of(one.get("prompt")), text_of(one.get("answer")), text_of(one.get("difficulty")))
        number = numbers.setdefault(problem, len(numbers))
        text = _cut(text_of(one.get("completion")), longest)
        finished = one.get("finished")
        made.append([number, text, int(bool(one.get("correct"))), one.get("score"), one.get("tokens"), finished])
    return {
        "step": record["step"],
        "correct": "".join("1" if right else "0" for right in record.get("correct") or ()),
        "made": made if keep else None,
    }


def text_of(value: Any) -> str:
    """Return a text, or the contents of a list of messages, each after its role if there are several."""
    if not isinstance(value, list):
        return "" if value is None else str(value)
    parts = [item if isinstance(item, Mapping) else {"content": item} for item in value]
    contents = [text_of(part.get("content")) for part in parts]
    if len(parts) == 1:
        return contents[0]
    return "\n\n".join(f"[{part.get('role', '')}] {content}" for part, content in zip(parts, contents, strict=True))


def _cut(text: str, longest: int) -> str:
    # A lone surrogate cannot be encoded.
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= longest:
        return text
    left_out = len(text) - longest
    head = longest // 2
    return f"{text[:head]}\n[… {left_out:,} characters are left out here …]\n{text[head + left_out :]}"


def shared_beginning(prompts: Sequence[str]) -> str:
    """Return the whole lines that all prompts begin with, which are worked examples. Empty for a single prompt.

    Args:
        prompts: any number of prompts.
    """
    if len(prompts) < 2:
        return ""
    # Whatever the first and the last in sorted order have in common, all have.
    first, last = min(prompts), max(prompts)
    same = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("\n", 0, same) + 1]

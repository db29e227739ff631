"""Mathematical answers in LaTeX or as plain numbers, compared exactly in child processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r2vpo.data.rows import PromptRow
from r2vpo.rewards.mathematics.place import GOLD, place_of
from r2vpo.rewards.options import PoolOptions
from r2vpo.rewards.text import text_of

END_CHARACTERS = 1000
EMPTY = "it is empty"
UNREADABLE = "it is neither mathematics nor words that an answer could be compared with"


class MathOptions(PoolOptions):
    """Options of `math`: the limits of the child processes."""


def math_reward(options: MathOptions) -> Any:
    r"""Score 1 if the completion's answer equals the gold answer, else 0.

    `place_of` defines where the answer is looked for, `stated_answer` how it is found in a text without a box, and
    docs/rewards.md which answers are equal. An answer that `hostile.refusal` rejects, or that takes too much time or
    memory, scores 0, with a line in the log.

    Returns:
        The reward function. A row whose gold answer cannot be read has no score (None), with a line in the log: a 0 for
        every completion would teach nothing, and would count as a problem that the model cannot solve. The function's
        attribute `unreadable` finds such rows before training.

    Source:
        Expressions that are not rational numbers are parsed by the parser of math-verify 0.9, latex2sympy2_extended.
        The comparison is not that of math-verify, which rounds to six places, uses the last side of any equation as its
        value, and reads several boxes near each other as one list; here the last box counts.
    """
    pool = options.pool("r2vpo.rewards.math_scorer:score_answer")

    def math(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float | None]:
        scores: list[float | None] = [0.0] * len(completions)
        places = [place_of(text_of(completion)) for completion in completions]
        open_rows = []
        for row, (place, right) in enumerate(zip(places, answer, strict=True)):
            if place.kind != "text" and place.text.strip() == right.strip() != "":
                scores[row] = 1.0
            else:
                open_rows.append(row)
        outcomes = pool.score([(*places[row], answer[row]) for row in open_rows], open_rows)
        for row, outcome in zip(open_rows, outcomes, strict=True):
            scores[row] = None if outcome.reason == "gold" else outcome.score
        return scores

    def unreadable(rows: Sequence[PromptRow]) -> list[str | None]:
        golds = list(dict.fromkeys(row.answer for row in rows))
        outcomes = pool.score([("", GOLD, gold) for gold in golds])
        readable = {gold: outcome.score > 0 for gold, outcome in zip(golds, outcomes, strict=True)}
        return [None if readable[row.answer] else UNREADABLE if row.answer.strip() else EMPTY for row in rows]

    math.unreadable = unreadable  # type: ignore[attr-defined]
    return math


def find_answer(text: str) -> tuple[str, bool]:
    r"""Find where the answer is, for rewards and votes that read it themselves.

    Returns:
        The content of the last box and True; or False with the end of what follows the thought, or with the last
        `<answer>`.
    """
    place = place_of(text)
    return (place.text, True) if place.kind == "box" else (place.text[-END_CHARACTERS:], False)

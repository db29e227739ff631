"""Mathematical answers in LaTeX or as plain numbers, compared by math-verify in child processes."""

from __future__ import annotations

import re
from typing import Any

from r2vpo.rewards.hostile import MAX_CHARACTERS, refusal
from r2vpo.rewards.options import PoolOptions
from r2vpo.rewards.pool import ScoringPool, log_zero
from r2vpo.rewards.text import completion_text

READ_CHARACTERS = 20_000
"""How much of a completion's end is looked at."""

_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s{0,3}\{)|\\.|[{}]", re.DOTALL)


class MathOptions(PoolOptions):
    """Options of `math`: those of the child processes."""


def math_reward(options: MathOptions) -> Any:
    r"""Score 1 where the completion's answer equals the gold answer, else 0.

    The answer is what stands in the last closed `\boxed{}` of the completion's last 20,000 characters. Without one,
    math-verify looks for it in the last 1,000: after "answer is" first, then the last formula or number. A box with the
    same text as the gold answer is right; any other answer is parsed and compared by math-verify: fractions, decimals
    to six places, percent, units left out, intervals, sets, equations. What `hostile.refusal` names, what takes too
    long and what takes too much memory scores 0, with a line in the log.

    Args:
        options: limits of the child processes.

    Returns:
        The reward function. It raises ValueError when there is nothing to compare with in a gold answer.

    Source:
        math-verify 0.9. Its own time limit is switched off: it uses SIGALRM, which works on the main thread only. It
        would read several boxes near each other as one list; here the last one counts.
    """
    pool = ScoringPool(
        "r2vpo.rewards.math_scorer:score_answer",
        workers=options.workers,
        seconds_per_item=options.seconds_per_item,
        memory_bytes=options.memory_megabytes << 20,
    )

    def math(prompts: list[Any], completions: list[Any], answer: list[str], **_: Any) -> list[float]:
        found = [find_answer(completion_text(completion)) for completion in completions]
        scores, open_rows = [0.0] * len(found), []
        for row, ((text, boxed), right) in enumerate(zip(found, answer, strict=True)):
            if boxed and text.strip() == right.strip() != "":
                scores[row] = 1.0
            elif (reason := refusal(text)) is not None:
                log_zero("math", row, (text, right), reason)
            else:
                open_rows.append(row)
        outcomes = pool.score([(*found[row], answer[row]) for row in open_rows], open_rows)
        for row, outcome in zip(open_rows, outcomes, strict=True):
            if outcome.reason == "error":
                raise ValueError(outcome.detail)
            scores[row] = outcome.score
        return scores

    return math


def find_answer(text: str) -> tuple[str, bool]:
    r"""Find where an answer stands.

    Args:
        text: a completion.

    Returns:
        The content of the last closed `\boxed{}` or `\fbox{}` and True, or the end of the text and False. One pass,
        whatever the braces.
    """
    text = text[-READ_CHARACTERS:]
    opened: list[int | None] = []
    found = None
    for match in _BRACES.finditer(text):
        if match["box"]:
            opened.append(match.end())
        elif match.group() == "{":
            opened.append(None)
        elif match.group() == "}" and opened and (start := opened.pop()) is not None:
            found = text[start : match.start()]
    return (text[-MAX_CHARACTERS:], False) if found is None else (found, True)

"""Score answers as their reasoning-gym family does, without running any text that a model wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import Field

from r2vpo.boxes import last_box
from r2vpo.optional import require
from r2vpo.rewards.options import PoolOptions, with_reasons
from r2vpo.rewards.pool import log_zero
from r2vpo.rewards.reasoning_gym_own import OWN, SYMBOLIC
from r2vpo.rewards.text import answer_block, bare, first_line

READ_CHARACTERS = 20_000

HARMLESS = frozenset(
    (
        "ab advanced_geometry calendar_arithmetic chain_sum circuit_logic color_cube_rotation "
        "decimal_arithmetic decimal_chain_sum dice emoji_mystery family_relationships figlet_font "
        "gsm_symbolic needle_haystack number_format number_sorting palindrome_generation path_star products "
        "rectangle_count self_reference sentence_reordering spell_backward time_intervals tsumego "
        "word_sorting zebra_puzzles"
    ).split()
)
"""Families whose scorer only compares texts and numbers, in linear time; as of version 0.1.25.

Families with the library's common scorer, which looks for one text in another, are also harmless. Every other family,
and every one that a later version adds, is scored in child processes in which no text can be compiled.
"""

# Some scorers treat NaN as equal to every number, and some write out a power of ten.
_NO_NUMBER = re.compile(r"(?<![a-z])(?:nan|inf(?:inity)?)(?![a-z])|\de[-+]?\d{4}", re.IGNORECASE)


class ReasoningGymOptions(PoolOptions):
    """Options of `reasoning_gym`: the limits of the child processes, for families that need them.

    Attributes:
        seconds_per_item: limit for one completion, in seconds of a worker's CPU time, including loading a family.
    """

    seconds_per_item: float = Field(default=5.0, gt=0)


def reasoning_gym_reward(options: ReasoningGymOptions) -> Any:
    """Give the first line of an answer the score of the family's own scorer, between 0 and 1.

    If the row's answer has several lines, an answer ends at its first empty line, unless the row's answer also contains
    empty lines. Families whose scorer evaluates the text as Python or with sympy are scored by `reasoning_gym_own`, by
    the same rules. An answer of over 20,000 characters, one with `nan`, `inf` or an exponent of four digits, and one on
    which a scorer fails all score 0.

    Returns:
        The reward function; its attribute `unreadable` says which rows name no family. Such rows have no score.

    Source:
        reasoning-gym 0.1.25.
    """
    require("reasoning_gym", "the reward reasoning_gym")
    pool = options.pool("r2vpo.rewards.reasoning_gym_scorer:score_family")

    def reasoning_gym(
        prompts: list[Any], completions: list[Any], answer: list[str], metadata: list[str], **_: Any
    ) -> list[float | None]:
        scores: list[float | None] = [None] * len(completions)
        items: dict[int, tuple[str, str, dict[str, Any]]] = {}
        for row, (completion, right, text) in enumerate(zip(completions, answer, metadata, strict=True)):
            known = json.loads(text)
            if _problem(known) is not None:
                continue
            family, entry = _entry(known, right)
            given = _given(completion, right)
            if len(given) > READ_CHARACTERS or (_has_no_number(given) and not _has_no_number(right)):
                scores[row] = 0.0
            elif (here := _in_process(family)) is not None:
                scores[row] = _score(here, given, entry, row)
            else:
                items[row] = (family, given, entry)
        for row, outcome in zip(items, pool.score(list(items.values()), list(items)), strict=True):
            scores[row] = _bounded(outcome.score)
        return scores

    return with_reasons(reasoning_gym, lambda row: _problem(row.metadata))


def _given(completion: Any, right: str) -> str:
    if "\n" not in right.strip():
        line = first_line(completion)
        return line if line == right.strip() else bare(line)
    block = answer_block(completion)
    box = last_box(block)
    block = block if box is None else box.strip()
    gaps = any(not line.strip() for line in right.strip().splitlines())
    part = block if gaps else re.split(r"\n[ \t]*\n", block)[0]
    return part if "\n" in part.strip() else bare(part)


def _has_no_number(text: str) -> bool:
    # Most answers consist of digits and signs, so there is nothing to look for.
    return any(letter in text for letter in "nNeE") and _NO_NUMBER.search(text) is not None


def _problem(known: dict[str, Any]) -> str | None:
    """Return why a row cannot be scored, or None."""
    if not all(name in known for name in ("family", "entry", "question")):
        return "the metadata names no reasoning-gym family: use 'exact' or 'numeric' for such data"
    if known["family"] not in _families():
        return f"reasoning-gym has no family {known['family']!r}: correct the name in the metadata"
    return None


@cache
def _families() -> frozenset[str]:
    from reasoning_gym.factory import DATASETS

    return frozenset(DATASETS)


def _entry(known: dict[str, Any], right: str) -> tuple[str, dict[str, Any]]:
    """Return the family that scores a row, and the row in the family's format."""
    entry = {
        "question": known["question"],
        "answer": right if known.get("has_answer", True) else None,
        "metadata": known["entry"],
    }
    family = known["family"]
    return str(known["entry"].get("source_dataset", family) if family == "composite" else family), entry


@cache
def _in_process(family: str) -> Callable[..., float] | None:
    """Return the scorer of a family that needs no child process, or None."""
    if family in OWN:
        return OWN[family]
    from reasoning_gym.dataset import ProceduralDataset
    from reasoning_gym.factory import DATASETS, get_score_answer_fn

    if family in SYMBOLIC or family not in DATASETS:
        return None
    common = DATASETS[family][0].score_answer is ProceduralDataset.score_answer
    score: Callable[..., float] = get_score_answer_fn(family)
    return score if common or family in HARMLESS else None


def _score(scorer: Callable[..., float], given: str, entry: dict[str, Any], row: int) -> float:
    try:
        return _bounded(float(scorer(answer=given, entry=entry)))
    except Exception as error:  # some scorers fail on some texts, for example on a whole number of 400 digits
        log_zero("reasoning_gym", row, (given, entry["answer"]), f"{type(error).__name__}: {error}"[:100])
        return 0.0


def _bounded(score: float) -> float:
    return min(max(score, 0.0), 1.0) if score == score else 0.0

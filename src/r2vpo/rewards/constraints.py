"""Score whether a completion keeps the checkable constraints of its prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from r2vpo.data.constraints import CONSTRAINTS, problem_with
from r2vpo.rewards.options import RewardOptions, with_reasons
from r2vpo.rewards.text import text_of, without_thoughts


class ConstraintsOptions(RewardOptions):
    """Options of `constraints`.

    Attributes:
        mode: strict reads the completion as it is; loose also without its first line, its last line, or asterisks.
        score: all gives 1 if every constraint is kept; fraction gives the share that is kept.
    """

    mode: Literal["strict", "loose"] = "strict"
    score: Literal["all", "fraction"] = "all"


def constraints_reward(options: ConstraintsOptions) -> Any:
    """Score whether a completion keeps the constraints that are named in the metadata of its prompt.

    Thoughts are left out, and an empty completion keeps none.

    Returns:
        The reward function. A row without constraints, or with an unknown one, has no score (None); the function's
        attribute `unreadable` names such rows.

    Source:
        Zhou et al., arXiv 2311.07911: strict and loose accuracy, of prompts (all) and of instructions (fraction,
        which is averaged over prompts here).
    """

    def constraints(prompts: list[Any], completions: list[Any], metadata: list[str], **_: Any) -> list[float | None]:
        return [score(completion, json.loads(known)) for completion, known in zip(completions, metadata, strict=True)]

    def score(completion: Any, known: dict[str, Any]) -> float | None:
        if _problem(known) is not None:
            return None
        text = without_thoughts(text_of(completion))
        kept = follows(text, known["instruction_id_list"], known["kwargs"], mode=options.mode)
        return float(all(kept)) if options.score == "all" else sum(kept) / len(kept)

    return with_reasons(constraints, lambda row: _problem(row.metadata))


def follows(
    text: str, names: Sequence[str], arguments: Sequence[dict[str, Any]], *, mode: Literal["strict", "loose"]
) -> list[bool]:
    """Check which constraints a text keeps.

    Args:
        text: what a model wrote.
        names: names of the constraints.
        arguments: the arguments of each constraint.
        mode: strict checks the text as it is; in loose, a constraint is kept if one of `loose_texts` keeps it.
    """
    texts = list(loose_texts(text)) if mode == "loose" else [text]
    texts = [one for one in texts if one.strip()]
    return [
        any(CONSTRAINTS[name].check(one, **given) for one in texts)
        for name, given in zip(names, arguments, strict=True)
    ]


def loose_texts(text: str) -> Iterator[str]:
    """Yield the eight texts that the loose mode tries: with and without first line, last line, and asterisks."""
    lines = text.split("\n")
    for part in (lines, lines[1:], lines[:-1], lines[1:-1]):
        joined = "\n".join(part).strip()
        yield joined
        yield joined.replace("*", "")


def _problem(known: dict[str, Any]) -> str | None:
    """Return why a row's constraints cannot be checked, or None."""
    names, arguments = known.get("instruction_id_list"), known.get("kwargs")
    if not names or not isinstance(arguments, list):
        return "the metadata names no constraints: use data.schema ifeval, or data.source instructions"
    return problem_with(names, arguments)

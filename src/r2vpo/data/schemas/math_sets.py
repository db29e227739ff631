"""Layouts of mathematics data sets."""

from __future__ import annotations

import re

from r2vpo.boxes import last_box
from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import (
    BadRow,
    Columns,
    Record,
    Skip,
    answer_of,
    prompt_of,
    rest_of,
    shown,
    text_of,
    value_of,
)

NO_BOX = Skip("without a boxed answer")
PROOF = Skip("with a proof as the task")
_PROOF = re.compile(r"\b(?:prove|show) that\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def numina_math(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of NuminaMath-CoT: `source`, `problem`, `solution`, `messages`.

    The difficulty is `source`, the collection from which the problem comes.

    Returns:
        The problem with the answer from the solution's last box, or why it has none.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    problem, solution = text_of(record, "problem"), text_of(record, "solution")
    if _PROOF.search(problem):
        return PROOF
    answer = last_box(solution)
    if not answer:
        return NO_BOX
    source = record.get("source")
    return PromptRow(problem, answer, str(source) if source else "all", metadata={"solution": solution})


def gsm8k(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of GSM8K: `question`, `answer`, whose last line is `#### 42`.

    Returns:
        The problem, with thousands separators removed from the answer; or why it has no answer.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    question, solution = text_of(record, "question"), text_of(record, "answer")
    _, mark, last = solution.rpartition("####")
    answer = _THOUSANDS.sub("", last.strip())
    if not mark or not answer:
        return Skip("without an answer after ####")
    return PromptRow(question, answer, metadata={"solution": solution})


def math(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of MATH (`problem`, `solution`, `level`, `type`) or MATH-500 (with `answer` and `subject`).

    The difficulty is `level 1` to `level 5`.

    Returns:
        The problem, with its answer from `answer` or the solution's last box; or why it has none.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    problem = text_of(record, "problem")
    if record.get("answer") is not None:
        answer: str | None = answer_of(record, "answer")
    else:
        answer = last_box(text_of(record, "solution", "answer"))
    if not answer:
        return NO_BOX
    level = str(record["level"]).lower().removeprefix("level").strip() if record.get("level") is not None else ""
    subject = rest_of({"subject": record.get("subject") or record.get("type")}, "subject")
    return PromptRow(
        problem,
        answer,
        f"level {level}" if level else "all",
        metadata={**subject, **rest_of(record, "solution", "unique_id")},
    )


def dapo_math(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of DAPO-Math-17k: `prompt`, a list of messages, and `reward_model` with `ground_truth`.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    prompt, graded = prompt_of(record, "prompt"), value_of(record, "reward_model")
    if not isinstance(graded, dict) or graded.get("ground_truth") is None:
        raise BadRow(f"'reward_model' is {shown(graded)}: write the answer in its ground_truth")
    answer = answer_of(graded, "ground_truth")
    return PromptRow(prompt, answer, metadata=rest_of(record, "data_source", "ability"))


def aime(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of an AIME set: a problem or question, an answer and optionally a year, in upper or lower case.

    The difficulty is the year.

    Returns:
        The problem; a numeric answer loses its leading zeros, such as `25` for `025`.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    # Keep the original names if a column is missing: the error should list the columns as they are.
    lower = {key.lower(): value for key, value in record.items()}
    row = lower if {"answer"} <= lower.keys() and {"problem", "question"} & lower.keys() else record
    problem, answer = text_of(row, "problem", "question"), answer_of(row, "answer").strip()
    answer = (answer.lstrip("0") or "0") if re.fullmatch(r"[0-9]+", answer) else answer
    year = row.get("year")
    return PromptRow(problem, answer, str(year) if year else "all", metadata=rest_of(row, "id", "solution"))

"""``r2vpo rewards check``: check a reward on a data set before paying for a run."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2vpo.cli.failures import Session
from r2vpo.config.errors import validated
from r2vpo.config.overrides import override
from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.data.dataset import read_problems
from r2vpo.data.files import READERS, kind_of, read_file
from r2vpo.data.load import load_data
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_format import as_chats
from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import shown
from r2vpo.errors import UserError
from r2vpo.rewards import load_answer_finder, load_reward
from r2vpo.rewards.audit import Answer, Audit, Verdict, audit, row_of
from r2vpo.rewards.scores import is_number

MISSED = 1
SHOWN_CHARACTERS = 60


def check(arguments: argparse.Namespace, session: Session) -> int:
    """Print the verdicts, the wrong ones first.

    Returns:
        Exit code: 1 if an answer cannot be used or a score is not the expected one, else 0.
    """
    recipe, rows = _data(arguments)
    part = recipe.reward.all_parts()[0]
    reward, finder = load_reward(part.options()), load_answer_finder(part.options())
    answers = _answers(Path(arguments.answers), rows) if arguments.answers else None
    start = time.perf_counter()
    found = audit(reward, finder, rows, answers)
    seconds = time.perf_counter() - start
    if arguments.json:
        summary = {"reward": part.name, "rows": len(rows), "seconds": round(seconds, 3), **_counts(found)}
        written = json.dumps({**summary, **found.to_json()}, indent=1, ensure_ascii=False)
        # Half a surrogate pair cannot be written in UTF-8, but can be written as a JSON escape.
        Path(arguments.json).write_text(written + "\n", encoding="utf-8", errors="backslashreplace")
    _print(found, part.name, rows, seconds, arguments.show)
    return MISSED if found.unreadable or found.missed else 0


def _data(arguments: argparse.Namespace) -> tuple[Recipe, list[PromptRow]]:
    """Return a recipe with its problems: the recipe's own, or those of a data file with the named reward."""
    path = Path(arguments.data)
    if kind_of(path) not in READERS:
        if arguments.reward is not None:
            raise UserError(
                f"--reward is for a data file ({', '.join(READERS)}), and {path} is a recipe: leave it out, or use "
                f"--set reward.name={arguments.reward}"
            )
        recipe = load_recipe(arguments.data, arguments.overrides)
        data = load_data(recipe.data, seed=recipe.seed)
        return recipe, _as_trained(recipe, [*data.train, *data.held_out])
    if arguments.reward is None:
        raise UserError(f"{path} is a data file: name the reward with --reward, such as --reward math")
    settings: dict[str, Any] = {
        "name": "check",
        "data": {"source": "dataset", "path": [str(path)]},
        "reward": {"name": arguments.reward},
    }
    overridden = [override(settings, text) for text in arguments.overrides]
    recipe = validated(Recipe, settings, source=str(path), overridden=overridden)
    assert isinstance(recipe.data, DatasetOptions)
    return recipe, _file_rows(recipe.data)


def _as_trained(recipe: Recipe, rows: list[PromptRow]) -> list[PromptRow]:
    """Return the problems in the form in which the model is given them, if it is here: a function may take only one."""
    if ":" not in recipe.reward.name or not isinstance(recipe.data, DatasetOptions) or recipe.data.format != "auto":
        return rows
    from r2vpo.planning.local_form import local_form, local_tokenizer

    options: dict[str, Any] = {"seed": recipe.model_seed, "trust_remote_code": recipe.model.trust_remote_code}
    tokenizer = local_tokenizer(recipe.model.name, **options)
    if tokenizer is None or not local_form(rows, recipe.model.name, tokenizer, **options).is_chat:
        return rows
    return as_chats(rows)


def _file_rows(data: DatasetOptions) -> list[PromptRow]:
    """Return all problems of the files in their order: none is held out, sampled, or removed as a duplicate."""
    return read_problems(data, Counter())


def _answers(path: Path, rows: Sequence[PromptRow]) -> list[Answer]:
    find = row_of(rows)
    answers = []
    for where, record in read_file(path):
        text, expected = record.get("completion"), record.get("score")
        if isinstance(text, list) and text and isinstance(text[-1], dict):
            text = text[-1].get("content")
        if not isinstance(text, str):
            raise UserError(f"{where} has no text in 'completion': write what the model answered")
        if expected is not None and (type(expected) not in (int, float) or not is_number(expected)):
            raise UserError(
                f"{where} has 'score' = {shown(expected)}: write the number that should come out, or leave it out"
            )
        answers.append(Answer(_index(record, rows, find, where), text, expected))
    return answers


def _index(record: dict[str, Any], rows: Sequence[PromptRow], find: Any, where: str) -> int:
    number = record.get("row")
    if number is not None:
        if type(number) is not int or not 1 <= number <= len(rows):
            raise UserError(f"{where} has 'row' = {shown(number)}: the data has rows 1 to {len(rows)}")
        return number - 1
    if "prompt" not in record:
        raise UserError(f"{where} has neither 'row' nor 'prompt': write which problem it answers")
    index = find(record["prompt"])
    if index is None:
        raise UserError(f"{where}: no row of the data has this 'prompt': give its number in 'row' instead")
    return int(index)


def _counts(found: Audit) -> dict[str, Any]:
    judged = [verdict for verdict in found.verdicts if verdict.expected is not None or verdict.error is not None]
    right = len(judged) - len(found.missed)
    return {
        "expected": len(judged),
        "right": right,
        "wrong": len(found.missed),
        "share_right": right / len(judged) if judged else None,
    }


def _print(found: Audit, reward: str, rows: Sequence[PromptRow], seconds: float, show: int) -> None:
    if found.unreadable:
        first, reason = next(iter(found.unreadable.items()))
        print(f"{len(found.unreadable)} of {len(rows)} answers cannot be used, the first in row {first}: {reason}")
    else:
        print(f"all {len(rows)} answers can be used by the reward {reward}")
    ordered = sorted(found.verdicts, key=lambda verdict: not verdict.wrong)
    for verdict in ordered[:show]:
        print(_line(verdict))
    if len(ordered) > show:
        print(f"... {len(ordered) - show} more: raise --show, or write all of them with --json FILE")
    print(_summary(found, seconds))


def _line(verdict: Verdict) -> str:
    state = "wrong" if verdict.wrong else "right" if verdict.expected is not None else "     "
    expected = "" if verdict.expected is None else f", expected {verdict.expected:g}"
    score = verdict.error or ("no score" if verdict.score is None else f"score {verdict.score:g}")
    read = "nothing" if verdict.read is None else _short(verdict.read)
    where = f"{state}  row {verdict.row}: gold {_short(verdict.gold)}, read {read}, {score}{expected}"
    return f"{where}  {_short(verdict.completion, end=True)}"


def _short(text: str, end: bool = False) -> str:
    if len(text) > SHOWN_CHARACTERS:
        text = f"...{text[-SHOWN_CHARACTERS:]}" if end else f"{text[:SHOWN_CHARACTERS]}..."
    return repr(text)


def _summary(found: Audit, seconds: float) -> str:
    counts = _counts(found)
    scores = [verdict.score for verdict in found.verdicts]
    ones = sum(score is not None and score >= 1 for score in scores)
    if not scores:
        return "0 verdicts: nothing shows what this reward makes of a completion; give some with --answers FILE"
    parts = [f"{len(scores)} verdicts in {seconds:.1f} s", f"{ones} of them with score 1"]
    if counts["expected"]:
        share = f"{100 * counts['share_right']:.1f} %"
        parts.append(f"{counts['right']} right and {counts['wrong']} wrong of {counts['expected']} expected ({share})")
    return ", ".join(parts)

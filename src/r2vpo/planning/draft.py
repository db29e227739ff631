"""Draft a recipe and a reward for a user's data, and check both as a run would, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from r2vpo.config.errors import validated
from r2vpo.config.recipe import Recipe
from r2vpo.config.yaml_files import parse_yaml
from r2vpo.data import PromptData, load_data
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_format import PromptForm, as_chats
from r2vpo.data.prompt_tokens import check_chats, prompt_lengths, without_long_prompts
from r2vpo.data.schemas import Columns
from r2vpo.errors import UserError
from r2vpo.planning.draft_recipe import FEW, Choices, Lengths, Room, choose, recipe_text
from r2vpo.planning.draft_reward import reward_text
from r2vpo.planning.local_form import local_form, local_positions, local_tokenizer
from r2vpo.planning.own_data import TRIED, OwnData
from r2vpo.planning.own_tests import try_programs
from r2vpo.rewards import check_reward, load_answer_finder, load_reward, usable_rows
from r2vpo.rewards.audit import audit, usual_answers

MEASURED = 2000
"""Answers whose lengths are measured."""


@dataclass(frozen=True)
class Draft:
    """What is written, and what the user is told.

    Attributes:
        recipe: text of the recipe.
        reward: text of the reward file.
        found: lines on what was found in the data.
        chosen: lines on what was chosen, and why.
        checked: lines on what the check found.
        steps: optimizer steps of the first round.
    """

    recipe: str
    reward: str
    found: list[str]
    chosen: list[str]
    checked: list[str]
    steps: int


def draft(data: OwnData, *, name: str, module: str, model: str, path: str) -> Draft:
    """Draft and check the two files.

    Args:
        data: what was found in the data.
        name: the recipe's name.
        module: name of the module with the reward.
        model: the model's name.
        path: the data, as the recipe names it.

    Raises:
        UserError: there are too few problems, or the check fails. One line.
    """
    if data.distinct < 2:
        raise UserError(
            f"{data.path} has {data.distinct} different prompt, and a run needs at least one to train on and one to "
            "evaluate on: add problems"
        )
    tokenizer = local_tokenizer(model)
    form = None if tokenizer is None else local_form(data.rows, model, tokenizer)
    prompts = None
    if form is not None:
        given = [row.prompt for row in (as_chats(data.rows) if form.is_chat else data.rows)]
        check_chats(given, tokenizer, key=data.path, remedy="write the prompts as texts, or name another --model")
        prompts = prompt_lengths(given, tokenizer)
    found, answers = _found(data, tokenizer, prompts)
    room = None
    if prompts is not None and (limit := local_positions(model)) is not None:
        room = Room(prompts, limit)
    own = f"{module}:score"
    choices = choose(data, own_reward=own, chat=form is None or form.is_chat, answers=answers, room=room)
    if room is not None and choices.prompt_tokens is not None:
        found.append(_too_long(room, choices))
    text = recipe_text(data, choices, name=name, model=model, path=path, own=own, facts=found)
    reward = reward_text(choices.kind, wrapped=choices.wrapped, path=path, recipe=f"{name}.yaml")
    checked = _check(text, reward, own, form, tokenizer, compares=choices.compares)
    return Draft(text, reward, found, _chosen(data, choices, form, model), checked, choices.steps)


def _too_long(room: Room, choices: Choices) -> str:
    """Return a line on the prompts that are left out."""
    assert choices.prompt_tokens is not None, "some prompts are too long"
    long = room.long(choices.prompt_tokens)
    return (
        f"prompts left out: {len(long):,} of {len(room.lengths):,}, the longest of {max(long):,} tokens; the model "
        f"takes {room.limit:,} tokens, of which completions of {choices.new_tokens:,} leave {choices.prompt_tokens:,} "
        "for a prompt (data.max_prompt_tokens)"
    )


def _found(data: OwnData, tokenizer: Any, prompts: list[int] | None) -> tuple[list[str], Lengths | None]:
    """Return what is said about the data, and the lengths of its answers."""
    number = f"the first {len(data.rows):,}" if data.cut else f"{len(data.rows):,}"
    doubled = len(data.rows) - data.distinct
    columns = f", the prompt from {data.prompt_column!r}, the answer from {data.answer_column!r}"
    lines = [
        f"rows: {number}, with the columns {', '.join(map(repr, data.columns))}; read by the schema {data.schema}"
        + (columns if data.schema == "plain" else ""),
        f"prompts: {data.distinct:,} different" + (f"; {doubled:,} repeat an earlier one" if doubled else ""),
        *(f"rows left out: {count:,} {reason}" for reason, count in data.skipped.items()),
        *data.notes,
        *_hidden(data),
    ]
    examples = list(dict.fromkeys(row.answer for row in data.rows if row.answer))
    if examples:
        lines.append(f"answers: {len(examples):,} different, such as {', '.join(map(_short, examples[:3]))}")
    if prompts is None:
        return [*lines, "lengths: not measured, because the model is not on this machine"], None
    lines.append(f"lengths of prompts: {Lengths.of(prompts)}")
    rows = data.rows[:MEASURED]
    texts = [str(row.metadata.get("solution") or row.answer) for row in rows]
    if not any(texts):
        return lines, None
    answers = Lengths.of(prompt_lengths([text for text in texts if text], tokenizer))
    return [*lines, f"lengths of answers: {answers}"], answers


def _hidden(data: OwnData) -> list[str]:
    """Return a line on the columns that a prompt does not contain, such as the options of a multiple choice."""
    used = (data.prompt_column, data.answer_column, Columns().difficulty)
    others = [name for name in data.columns if name not in used]
    if data.schema != "plain" or not others:
        return []
    more = f" and {len(others) - 5} more columns" if len(others) > 5 else ""
    names = ", ".join(map(repr, others[:5]))
    return [
        f"the model is not shown {names}{more}: write what it needs into the prompt; rewards find these columns in "
        "`metadata`"
    ]


def _chosen(data: OwnData, choices: Choices, form: PromptForm | None, model: str) -> list[str]:
    few = (
        f"; with so few, accuracy is known only to within {100 * choices.held_out**-0.5:.0f} points"
        if data.distinct < FEW
        else ""
    )
    return [
        f"model {model}",
        "form: auto, decided when the model is loaded" if form is None else f"form: {form.note}",
        f"reward {choices.reward}: {choices.reward_reason}",
        f"held out: {choices.held_out} problems of {data.distinct:,}{few}",
        f"completions of at most {choices.new_tokens} tokens: {choices.new_tokens_reason}",
    ]


def _check(recipe: str, reward: str, own: str, form: PromptForm | None, tokenizer: Any, *, compares: bool) -> list[str]:
    """Read the recipe, load its problems and try both rewards on them, as a run does."""
    read = validated(Recipe, parse_yaml(recipe), source="the drafted recipe")
    data = load_data(read.data, seed=read.seed)
    if form is not None and form.is_chat:
        data = replace(data, train=as_chats(data.train), held_out=as_chats(data.held_out))
    assert isinstance(read.data, DatasetOptions), "the recipe reads a data set"
    if read.data.max_prompt_tokens is not None:
        data = without_long_prompts(data, tokenizer, read.data.max_prompt_tokens)
    lines = [f"the recipe: {data.described().removeprefix('data: ')}"]
    name = read.reward.name
    kind: dict[str, bool] = {"programs": name == "code", "compares": compares}
    if name != own:
        lines.append(_tried(name, load_reward(name), data, **kind))
    space: dict[str, Any] = {}
    exec(compile(reward, f"{own.partition(':')[0]}.py", "exec"), space)  # the text above, which we have written
    lines.append(_tried(own, space["score"], data, **kind))
    return lines


def _tried(name: str, function: Callable[..., Any], data: PromptData, *, programs: bool, compares: bool) -> str:
    rows, note = usable_rows(function, [*data.train, *data.held_out])
    tried = rows[:TRIED]
    check_reward(function, tried)
    if programs:
        return f"the reward {name}: {try_programs(function, tried)[0]}"
    finder = load_answer_finder(name) if ":" not in name else None
    answers = usual_answers(tried) if compares else []
    verdicts = audit(function, finder, tried, answers).verdicts
    left = f"; {note}" if note else ""
    if not verdicts:
        return f"the reward {name}: runs on {len(tried)} rows{left}"
    right = sum(not one.wrong for one in verdicts)
    return (
        f"the reward {name}: gives 1 to {right or 'none'} of {len(verdicts)} texts that contain the answers of "
        f"{len(tried)} rows as models usually write them{left}"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")

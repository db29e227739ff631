"""A trial call of a reward function, and a check of all its answers, before any time is spent on training."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards.scores import counted, is_number, listed, not_a_text
from r2vpo.rewards.undisturbed import shown, told, undisturbed

ROWS = 4
CHUNK = 2000
"""Answers checked per step of the progress bar, which is shown only for larger sets."""


def usable_rows(
    function: Callable[..., Any], rows: Sequence[PromptRow], word: str = "problems"
) -> tuple[list[PromptRow], str | None]:
    """Leave out the rows whose answer a reward cannot use.

    Args:
        function: the reward function. Its attribute `unreadable`, if it has one, takes rows and returns for each row
            why its answer cannot be used, or None.
        rows: the data.
        word: what the note calls the rows.

    Returns:
        The remaining rows in their order, and a note that counts those left out and shows the first, or None.

    Raises:
        UserError: no row remains.
    """
    unreadable = getattr(function, "unreadable", None)
    if unreadable is None or not rows:
        return list(rows), None
    name = getattr(function, "__name__", type(function).__name__)
    starts = track(
        range(0, len(rows), CHUNK),
        description=f"reading the answers of {len(rows)} {word}",
        console=Console(stderr=True),
        transient=True,
        disable=len(rows) <= CHUNK,
    )
    reasons: list[str | None] = [reason for start in starts for reason in unreadable(rows[start : start + CHUNK])]
    wrong = [number for number, reason in enumerate(reasons) if reason is not None]
    if not wrong:
        return list(rows), None
    first = f"{_where(rows, wrong[0])}: {reasons[wrong[0]]}"
    if len(wrong) == len(rows):
        raise UserError(
            f"reward {name!r} cannot use the answer of any of {len(rows)} {word}; the first is {first}; correct the "
            "answers, or choose a reward that reads them, such as 'exact'"
        )
    note = (
        f"{len(wrong)} of {len(rows)} {word} are left out because {name!r} cannot use their answer; the first is "
        f"{first}"
    )
    return [row for row, reason in zip(rows, reasons, strict=True) if reason is None], note


def check_reward(function: Callable[..., Any], rows: Sequence[PromptRow]) -> None:
    """Call a reward once, on a few rows with empty completions.

    Raises:
        UserError: the function raises, returns the wrong number of rewards, returns only None, or returns a number
            that is not finite; the message names the reward and the row, and says how to fix it.
    """
    tried = list(rows[:ROWS])
    if not tried:
        return
    name = getattr(function, "__name__", type(function).__name__)
    try:
        rewards = listed(_call(function, tried), len(tried))
    except (KeyboardInterrupt, LoopEnded):
        raise
    except BaseException as error:  # the user's function may raise anything or call sys.exit
        number = _first_failing(function, tried)
        raise UserError(
            f"reward {name!r} raises {type(error).__name__}: {told(error)} on {_where(tried, number)} "
            f"with an empty completion: {_remedy(error, tried)}"
        ) from error
    if not isinstance(rewards, list) or len(rewards) != len(tried):
        got = f"{counted(rewards, len(tried))} rewards" if isinstance(rewards, list) else type(rewards).__name__
        raise UserError(
            f"reward {name!r} returns {got} for {len(tried)} completions, from {_where(tried, 0)} on: make "
            "it return a list with one number per completion"
        )
    if all(reward is None for reward in rewards):
        raise UserError(
            f"reward {name!r} returns None for every row, from {_where(tried, 0)} on: make it return a "
            "number where it applies"
        )
    for number, reward in enumerate(rewards):
        if reward is not None and not is_number(reward):
            raise UserError(
                f"reward {name!r} returns {shown(reward)} on {_where(tried, number)} with an empty completion: "
                "make it return a finite number of float32's range (0.0 when nothing can be scored)"
            )


class LoopEnded(UserError):
    """An asynchronous function ended the event loop that it ran in."""


def call_reward(
    function: Callable[..., Any], rows: Sequence[PromptRow], texts: Sequence[str], ids: Sequence[list[int]]
) -> Any:
    """Call a reward the way TRL calls it.

    Raises:
        LoopEnded: it is async, and something that it began stopped its event loop.
    """
    return call_on_columns(function, [row.columns() for row in rows], texts, ids)


def call_on_columns(
    function: Callable[..., Any], columns: Sequence[Mapping[str, Any]], texts: Sequence[str], ids: Sequence[list[int]]
) -> Any:
    """Call a reward the way TRL calls it, with any columns.

    Args:
        function: the reward function.
        columns: of each row of the data, with `prompt`; all rows have the same columns.
        texts: the completions.
        ids: their tokens.

    Raises:
        LoopEnded: it is async, and something that it began stopped its event loop.
    """
    chat = [isinstance(column["prompt"], list) for column in columns]
    completions: list[Any] = [
        [{"role": "assistant", "content": text}] if is_chat else text for text, is_chat in zip(texts, chat, strict=True)
    ]
    others = [key for key in columns[0] if key != "prompt"] if columns else []
    with undisturbed():
        result = function(
            prompts=[column["prompt"] for column in columns],
            completions=completions,
            completion_ids=list(ids),
            **{key: [column[key] for column in columns] for key in others},
        )
        return _awaited(function, result) if inspect.iscoroutine(result) else result


def _awaited(function: Callable[..., Any], result: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in its own event loop and return the result."""

    async def finish() -> tuple[Any, BaseException | None]:
        try:
            value = await result
            await asyncio.sleep(0)  # here it is noticed that the function stopped the loop
            return value, None
        except (KeyboardInterrupt, asyncio.CancelledError):  # by the latter Ctrl-C ends a loop
            raise
        except BaseException as error:
            return None, error

    try:
        value, raised = asyncio.run(finish())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:  # not of the function itself, but of a task or a call that it left to the loop
        name = getattr(function, "__name__", type(function).__name__)
        raise LoopEnded(
            f"reward {name!r} ends its event loop ({type(error).__name__}: {told(error)}): let it await what it "
            "begins, and leave the loop running"
        ) from error
    if raised is not None:
        raise raised
    return value


def _call(function: Callable[..., Any], rows: Sequence[PromptRow]) -> Any:
    return call_reward(function, rows, [""] * len(rows), [[] for _ in rows])


def _first_failing(function: Callable[..., Any], rows: Sequence[PromptRow]) -> int:
    for number, row in enumerate(rows):
        try:
            _call(function, [row])
        except KeyboardInterrupt:
            raise
        except BaseException:  # the first row that raises is the one to find
            return number
    return 0


def _remedy(error: BaseException, rows: Sequence[PromptRow]) -> str:
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return "end its parameters with **columns, which takes the columns that it does not use"
    if isinstance(error, TypeError) and re.search(r"missing \d+ required .*argument", str(error)):
        return "it is given completions, prompts, answer, difficulty, source and, as JSON text, metadata: use these"
    chats = [row.prompt for row in rows if isinstance(row.prompt, list)]
    return not_a_text(error, chats) or "make it return a number for any completion"


def _where(rows: Sequence[PromptRow], number: int) -> str:
    text = rows[number].key()
    return f"row {number + 1} (prompt ends in {text[-40:]!r}, answer {rows[number].answer!r})"

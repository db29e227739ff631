"""Logs into the store: answers to one prompt become groups, and what is already there is not added again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from r2vpo.recording.adding import Adding, Imported, LotRows, Target, with_feedback
from r2vpo.recording.gathering import LogOptions, gather
from r2vpo.recording.scoring import FeedbackReward, FunctionReward

LOTS_AT_ONCE = 128
"""Prompts that are written in one transaction."""


def check_log(paths: Sequence[Path], tokenizer: Any, options: LogOptions, reward: FeedbackReward | None) -> Imported:
    """Do what `import_log` does without a store: nothing is written, and no reward function is called.

    Args:
        paths: Files.
        tokenizer: The model's.
        options: How they are read.
        reward: Feedback that answers need; None if they need none.
    """
    done = Imported(gather(paths, tokenizer, options), telling=None if reward is None else 0)
    for lot in done.gathered.shelf.lots():
        found = LotRows(lot, with_feedback(lot, reward, done.left_out))
        done.rows += len(found.rows)
        done.groups += len(list(found.groups()))
        if done.telling is not None:
            done.telling += found.telling()
    return done


def import_log(
    paths: Sequence[Path],
    tokenizer: Any,
    options: LogOptions,
    reward: FeedbackReward | FunctionReward,
    target: Target,
) -> Imported:
    """Put the usable answers of logs into the store, which is made when there is one.

    A log is known by its first line and its tokenizer. Of the same log, which may have grown or got more feedback, and
    may be read with other columns or another reward, only what is new is added: answers, scores and columns. What
    `r2vpo rollouts prune` has removed is not new.

    Args:
        paths: Files, which are one log.
        tokenizer: The model's.
        options: How they are read.
        reward: What answers are worth.
        target: Where they go.

    Raises:
        UserError: A file or the store cannot be read, or the reward function fails.
    """
    done = Imported(gather(paths, tokenizer, options))
    lots = done.gathered.shelf.lots()
    into: Adding | None = None
    while chunk := list(islice(lots, LOTS_AT_ONCE)):
        feedback = reward if isinstance(reward, FeedbackReward) else None
        found = [LotRows(lot, rows) for lot in chunk if (rows := with_feedback(lot, feedback, done.left_out))]
        if found:
            into = into or Adding(done, options, reward, target)
            into.add(found, tokenizer)
    return done

"""Run programs that a model wrote against tests in a sandbox."""

from __future__ import annotations

import logging
import sys
from typing import Any

from pydantic import Field

from r2vpo.errors import UserError
from r2vpo.rewards.code_scorer import NO_SANDBOX
from r2vpo.rewards.code_tests import read_task, read_tests
from r2vpo.rewards.options import PoolOptions
from r2vpo.rewards.pool import ScoringPool
from r2vpo.rewards.text import text_of
from r2vpo.sandbox import GAPS, ISOLATIONS, Choice, Settings, first_working

logger = logging.getLogger(__name__)

READ_CHARACTERS = 200_000


class CodeOptions(PoolOptions):
    """Options of `code`.

    Attributes:
        partial: score the fraction of passed tests instead of 1 for passing all of them and 0 otherwise.
        isolation: `bubblewrap`, `process`, or `auto`, which uses the first of the two that works.
        modules: installed modules that programs and tests may import in addition to the standard library.
        seconds_per_item: limit for the CPU time of a completion's program and all its tests together.
        memory_megabytes: limit for the address space of each of their processes.
    """

    partial: bool = False
    isolation: Choice = "auto"
    modules: list[str] = Field(default_factory=list)
    seconds_per_item: float = Field(default=2.0, ge=0.1)


def code_reward(options: CodeOptions) -> Any:
    """Score 1 if a completion's program passes all tests of its row, else 0; or the fraction that it passes.

    `programs` finds the program. It runs in one process and a test in another, and they exchange only plain data, so
    that no program can reach the code that judges it. Each test has new processes, which run in a sandbox.

    Returns:
        The reward function. It raises ValueError for a row without tests, and RuntimeError when a sandbox no longer
        starts, which no program can cause.

    Raises:
        UserError: no sandbox works here, or the requested one does not.
    """
    settings = choose(options)
    pool = ScoringPool(
        "r2vpo.rewards.code_scorer:score_program",
        workers=options.workers,
        # The sandbox measures its own programs; a worker only waits and compares.
        seconds_per_item=options.seconds_per_item + 1.0,
        memory_bytes=None,
    )

    def code(prompts: list[Any], completions: list[Any], metadata: list[str], **_: Any) -> list[float]:
        rows = {known: read_tests(known) for known in dict.fromkeys(metadata)}
        tasks = {known: read_task(known, tests) for known, tests in rows.items()}
        limits = (options.partial, options.seconds_per_item, settings)
        items = [
            (text_of(completion)[-READ_CHARACTERS:], tasks[known], rows[known], *limits)
            for completion, known in zip(completions, metadata, strict=True)
        ]
        outcomes = pool.score(items)
        for outcome in outcomes:
            if outcome.reason == NO_SANDBOX:
                raise RuntimeError(f"the reward 'code' cannot run programs any more: {outcome.detail}")
        return [outcome.score for outcome in outcomes]

    return code


def choose(options: CodeOptions) -> Settings:
    """Return the settings of the first requested kind of sandbox that works, and log which one it is.

    Raises:
        UserError: none works.
    """
    wanted = ISOLATIONS if options.isolation == "auto" else (options.isolation,)
    found = first_working(wanted, memory_bytes=options.memory_megabytes << 20, modules=options.modules)
    if found.settings is None:
        raise UserError(
            f"reward.isolation = {options.isolation!r}: no sandbox works on this machine ({sys.platform}; "
            f"{'; '.join(found.failed)}): install bubblewrap on Linux, x86-64 or arm64, or use another reward"
        )
    because = f" ({found.failed[0]})" if found.failed else ""
    if found.gaps:
        logger.warning(
            "code: programs run under the isolation %r%s, and can %s: install bubblewrap",
            found.isolation,
            because,
            " and ".join(GAPS[gap] for gap in found.gaps),
        )
    else:
        logger.info("code: programs run under the isolation %r%s", found.isolation, because)
    return found.settings

"""Asynchronous rewards end the loop that they share, and training does not wait without end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as Late
from types import SimpleNamespace
from typing import Any

import pytest
from trl.trainer.utils import start_event_loop_in_daemon

from r2vpo.errors import UserError
from r2vpo.trl.async_loop import keep_running
from r2vpo.trl.guards import guard_reward

Reward = Callable[..., Coroutine[Any, Any, list[float]]]


@pytest.fixture(scope="module")
def loop() -> asyncio.AbstractEventLoop:
    thread, loop, ready = start_event_loop_in_daemon()
    ready.wait()
    keep_running(SimpleNamespace(async_loop=loop, async_loop_thread=thread))
    return loop


def scored(loop: asyncio.AbstractEventLoop, *rewards: Reward) -> Any:
    """As TRL calls them."""

    async def gathered() -> list[list[float]]:
        return await asyncio.gather(*(guard_reward(one)(prompts=["p"], completions=["c"]) for one in rewards))

    try:
        return asyncio.run_coroutine_threadsafe(gathered(), loop).result(timeout=20)
    except Late:
        pytest.fail("waits for the loop")


async def good(**_: object) -> list[float]:
    await asyncio.sleep(0.01)
    return [1.0]


async def stops(**_: object) -> list[float]:
    asyncio.get_running_loop().stop()
    return [1.0]


async def leaves_later(**_: object) -> list[float]:
    asyncio.get_running_loop().call_soon(sys.exit, 0)
    await asyncio.sleep(60)
    return [1.0]


async def interrupts(**_: object) -> list[float]:
    raise KeyboardInterrupt


@pytest.mark.parametrize("others", [[], [good]])
def test_what_ends_the_loop_ends_with_a_line(loop: asyncio.AbstractEventLoop, others: list[Reward]) -> None:
    assert scored(loop, good, good) == [[1.0], [1.0]]
    with pytest.raises(UserError, match="raised CancelledError: its event loop was stopped; fix it"):
        scored(loop, stops, *others)
    with pytest.raises(UserError, match="raised CancelledError: its event loop was ended by SystemExit: 0; fix it"):
        scored(loop, leaves_later, *others)
    with pytest.raises(KeyboardInterrupt):
        scored(loop, interrupts, *others)
    assert scored(loop, good) == [[1.0]]


def test_a_process_with_such_a_loop_ends_at_once() -> None:
    code = (
        "import atexit\nfrom types import SimpleNamespace\n"
        "from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon\n"
        "from r2vpo.trl.async_loop import keep_running\n"
        "thread, loop, ready = start_event_loop_in_daemon()\nready.wait()\n"
        "atexit.register(shutdown_event_loop_in_daemon, thread, loop)\n"
        "trainer = SimpleNamespace(async_loop=loop, async_loop_thread=thread)\nkeep_running(trainer)\n"
        "atexit._run_exitfuncs()\ntrainer.async_loop_thread.join(5)\n"
        "assert not trainer.async_loop_thread.is_alive()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")

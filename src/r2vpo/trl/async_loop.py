"""The event loop of asynchronous rewards, which one of them can end while training waits for it."""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import Any

from trl.trainer.utils import shutdown_event_loop_in_daemon

from r2vpo.rewards.undisturbed import told


def keep_running(trainer: Any) -> None:
    """Run a trainer's loop in a thread that goes on when something stops the loop; what it ran is cancelled.

    In TRL's own thread the loop would end, and training wait for a result that never comes.

    Args:
        trainer: TRL's, with the loop that it has made.
    """
    loop: asyncio.AbstractEventLoop = trainer.async_loop
    shutdown_event_loop_in_daemon(trainer.async_loop_thread, loop)
    over = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        while not over.is_set() and not loop.is_closed():
            why = "its event loop was stopped"
            try:
                loop.run_forever()
            except KeyboardInterrupt:  # of a reward, which is its result: another turn of the loop hands it on
                continue
            except BaseException as error:
                why = f"its event loop was ended by {type(error).__name__}: {told(error)}"
            for task in asyncio.all_tasks(loop):
                task.cancel(why)

    trainer.async_loop_thread = threading.Thread(target=run, name="R2VPOTrainer-AsyncLoop", daemon=True)
    trainer.async_loop_thread.start()
    atexit.register(over.set)  # before TRL stops the loop: what is registered last is called first

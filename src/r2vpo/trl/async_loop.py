"""Keep the event loop of asynchronous rewards alive if a reward stops it while training waits for it."""

from __future__ import annotations

import asyncio
import atexit
import threading
from typing import Any

from trl.trainer.utils import shutdown_event_loop_in_daemon

from r2vpo.rewards.undisturbed import told


def keep_running(trainer: Any) -> None:
    """Run a trainer's event loop in a thread that restarts the loop when something stops it; its tasks are cancelled.

    In TRL's own thread the loop would end, and training would wait for a result that never comes.

    Args:
        trainer: A TRL trainer that has created its loop.
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
            except KeyboardInterrupt:  # raised by a reward and already its result: running the loop again delivers it
                continue
            except BaseException as error:
                why = f"its event loop was ended by {type(error).__name__}: {told(error)}"
            for task in asyncio.all_tasks(loop):
                task.cancel(why)

    trainer.async_loop_thread = threading.Thread(target=run, name="R2VPOTrainer-AsyncLoop", daemon=True)
    trainer.async_loop_thread.start()
    atexit.register(over.set)  # runs before TRL stops the loop: exit handlers run in reverse order

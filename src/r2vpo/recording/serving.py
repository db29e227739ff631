"""The life of the proxy: listen, import what is recorded now and then, and end without losing an answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from r2vpo.errors import UserError
from r2vpo.recording.proxy import Proxy
from r2vpo.recording.spool import Spool

DRAIN_SECONDS = 60.0
"""How long answers that are on their way may take when the proxy is ended."""


@dataclass(frozen=True)
class Recording:
    """What is recorded, and where.

    Attributes:
        upstream: URL of the server.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        spool: Folder of the recorded logs.
        ask: Whether requests are made to ask for token ids and log-probs.
        import_options: Options of `r2vpo rollouts import`, which another process of low priority runs.
        import_seconds: Seconds from one import to the next.
    """

    upstream: str
    host: str
    port: int
    spool: Path
    ask: bool
    import_options: Sequence[str]
    import_seconds: float


async def serve(recording: Recording, say: Callable[[str], None]) -> None:
    """Record until SIGTERM or Ctrl-C; answers that are on their way are passed on and kept.

    Args:
        recording: What and where.
        say: Prints a line.

    Raises:
        UserError: The address cannot be listened on.
    """
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    spool = Spool(recording.spool)
    proxy = Proxy(recording.upstream, spool, ask=recording.ask)
    runner = web.ServerRunner(await proxy.start(), access_log=None, shutdown_timeout=DRAIN_SECONDS)
    importing = asyncio.create_task(_import_again(recording, spool, stopped))
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, recording.host, recording.port).start()
        except OSError as error:
            raise UserError(
                f"{recording.host}:{recording.port}: {error.strerror}: choose another --host or --port"
            ) from error
        port = runner.addresses[0][1]
        say(f"http://{recording.host}:{port} passes on to {recording.upstream} and records in {recording.spool}")
        await stopped.wait()
    finally:
        stopped.set()
        await runner.cleanup()
        await proxy.close()
        await importing
        spool.close()
    await _import(recording, spool.files())
    status = proxy.status()
    say(
        f"{status['passed']:,} requests passed; {status['kept']:,} exchanges and {status['feedback_kept']:,} pieces of "
        "feedback were recorded"
    )
    for reason, count in status["not_kept"].items():
        say(f"{count:>9,} not recorded: {reason}")


async def _import_again(recording: Recording, spool: Spool, stopped: asyncio.Event) -> None:
    """Import what is there, first what an earlier process has left, until the proxy ends."""
    before = -1
    while not stopped.is_set():
        now = spool.exchanges + spool.feedback
        if now != before:
            await _import(recording, spool.files())
        before = now
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), recording.import_seconds)


async def _import(recording: Recording, files: Sequence[Path]) -> None:
    if not files:
        return
    command = [sys.executable, "-m", "r2vpo", "rollouts", "import", *map(str, files), *recording.import_options]
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
    await process.wait()

"""``r2vpo watch``: serve a run's report on this machine while the run goes on."""

import argparse
import threading
import webbrowser
from contextlib import suppress

from r2vpo.cli.failures import Session
from r2vpo.config.run_directory import open_run


def watch(arguments: argparse.Namespace, session: Session) -> None:
    """Serve the page until Ctrl-C."""
    run = open_run(arguments.run)
    from r2vpo.report.live import LiveServer

    with LiveServer(run, host=arguments.host, port=arguments.port) as server, suppress(KeyboardInterrupt):
        print(f"{run.path} is shown at {server.url} (Ctrl-C ends this and leaves the run alone)", flush=True)
        if server.exposed:
            print(
                f"warning: everyone who can reach this machine on port {server.server_address[1]} can read this run's "
                "prompts, completions and settings: there is no password and no encryption",
                flush=True,
            )
        if arguments.open:
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()

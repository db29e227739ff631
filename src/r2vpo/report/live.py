"""Serve a run's report on this machine while the run goes on: `r2vpo watch`.

The server only reads the run's folder, answers two paths, and renders the page from the files of records. The page asks
once a second what the run does, and takes new data when its records have changed.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from r2vpo.config.folder_lock import holder
from r2vpo.config.run_directory import RunDirectory
from r2vpo.config.run_events import EVENTS
from r2vpo.errors import UserError
from r2vpo.report.build import report_html

SECONDS_OF_A_REQUEST = 20.0
_SCRIPT = Path(__file__).with_name("live.js")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Texts of a model are escaped. If one were not, it still could not load or send anything.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class LiveRun:
    """What is served of a run.

    Args:
        run: its folder.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._page: tuple[str, str] | None = None

    def page(self) -> str:
        """Return the run's report, with the script that keeps it up to date; built again if records have changed.

        Raises:
            UserError: a file of the run is damaged, or the run is gone.
        """
        with self._lock:  # one page at a time, however many ask for it
            version = self.version()
            if self._page is None or self._page[0] != version:
                self._page = version, self._build(version)
            return self._page[1]

    def _build(self, version: str) -> str:
        page, end, rest = report_html([self.run.path]).rpartition("</body>")
        script = _SCRIPT.read_text(encoding="utf-8")
        return f"{page}<script>\nlet version = {json.dumps(version)};\n{script}</script>\n{end}{rest}"

    def status(self) -> dict[str, Any]:
        """Return what the run does now, or how it ended, and the version of its records.

        The keys are those of `TrainingProgress.snapshot`, as far as they are known, with `state` (`running`,
        `finished` or `stopped`) and `version`.
        """
        status = self.run.read_status()
        state = "running" if holder(self.run.path) else "finished" if self.run.summary.is_file() else "stopped"
        return {**status, "state": state, "version": self.version()}

    def version(self) -> str:
        """Return a text that differs whenever the files of the report do."""
        run = self.run
        found: list[tuple[int, int] | None] = []
        for path in (run.config, run.metrics, run.evaluations, run.summary, run.path / EVENTS):
            try:
                stat = os.stat(path)
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_mtime_ns, stat.st_size))
        return hashlib.sha256(repr(found).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    code: HTTPStatus
    kind: str
    text: str


class LiveServer(ThreadingHTTPServer):
    """A server of one run's report, for browsers on this machine, or on others if its address is not a loopback one.

    Args:
        run: the run's folder.
        host: name or address to listen on.
        port: port to listen on; 0 takes a free one.

    Attributes:
        exposed: whether other machines can reach it.

    Raises:
        UserError: it cannot listen there.
    """

    daemon_threads = True

    def __init__(self, run: RunDirectory, *, host: str, port: int) -> None:
        if not host:  # sockets take this for all addresses of the machine
            raise UserError("--host is empty: name an address, such as 127.0.0.1")
        self.live, self.host = LiveRun(run), host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            what = error.strerror or str(error)
            raise UserError(
                f"cannot listen on {host}, port {port}: {what}: name another --port (0 takes a free one) or --host"
            ) from None
        self._address = ipaddress.ip_address(str(self.server_address[0]).partition("%")[0])
        self.exposed = not self._address.is_loopback
        self._names = {"localhost", host.lower()} | (_names_of_machine() if self.exposed else set())

    @property
    def url(self) -> str:
        """The page's URL; with the machine's name if the server listens on all its addresses."""
        host = socket.gethostname() if self._address.is_unspecified else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}/"

    def is_ours(self, host: str | None) -> bool:
        """Whether a request's `Host` names this server and not a site whose name was made to lead here.

        A page of another site can only reach this server under that site's name, so names are refused except for the
        one that the server was given, `localhost`, and the machine's if others can reach it. Addresses cannot be made
        to lead elsewhere, and the port is another one if it is forwarded.
        """
        try:
            found = urlsplit(f"//{host or ''}")
            name, _ = found.hostname, found.port
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name or "")
        except ValueError:
            return False
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that has closed its connection."""


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "r2vpo", ""
    timeout = SECONDS_OF_A_REQUEST

    def do_GET(self) -> None:
        """Answer a request."""
        self._send(self._answer(), body=True)

    def do_HEAD(self) -> None:
        """Answer a request without the content."""
        self._send(self._answer(), body=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not a proper request, such as one of another method."""
        refused = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send(_plain(refused, message or refused.phrase), body=True)

    def _answer(self) -> Answer:
        if not self.server.is_ours(self.headers.get("Host")):
            names = "this machine's names and addresses" if self.server.exposed else "localhost and addresses"
            hint = f"open {self.server.url}, or start it with --host and the name that you use"
            return _plain(HTTPStatus.FORBIDDEN, f"This server answers only under {names}: {hint}")
        live = self.server.live
        paths: dict[str, Callable[[], Answer]] = {
            "/": lambda: Answer(HTTPStatus.OK, "text/html", live.page()),
            "/status.json": lambda: Answer(HTTPStatus.OK, "application/json", json.dumps(live.status())),
        }
        build = paths.get(self.path.partition("?")[0])
        if build is None:
            return _plain(HTTPStatus.NOT_FOUND, "There is nothing here; the report is at /")
        try:
            return build()
        except Exception as error:  # whatever is in the folder: a page that is open shows it, and asks again
            known = isinstance(error, UserError | OSError)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR, f"{'' if known else f'{type(error).__name__}: '}{error}")

    def _send(self, answer: Answer, *, body: bool) -> None:
        content = answer.text.encode("utf-8", "backslashreplace")
        self.send_response(answer.code)
        headers = _HEADERS | {"Content-Type": f"{answer.kind}; charset=utf-8", "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a page that is open asks every second."""


def _names_of_machine() -> set[str]:
    """Return the names under which other machines know this one."""
    found = {name.lower() for name in (socket.gethostname(), socket.getfqdn())}
    short = {name.partition(".")[0] for name in found}
    return found | short | {f"{name}.local" for name in short}


def _plain(code: HTTPStatus, text: str) -> Answer:
    return Answer(code, "text/plain", f"r2vpo watch: {text}\n")

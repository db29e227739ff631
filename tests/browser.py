"""A page in headless Chromium, driven over the DevTools protocol through a pair of pipes (standard library alone).

```python
with chromium() as browser:  # skips the test where there is no Chromium
    page = browser.open("http://127.0.0.1:8000/")  # or a file: URL
    page.wait_for("document.querySelectorAll('svg').length > 2")
    assert page.evaluate("document.title") == "run"
    page.click("#smoothing")
    assert page.errors == []
```
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("/usr/bin/chromium", "chromium", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
MOVE = """
import fcntl, os, sys
moved = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(moved[0], 3)
os.dup2(moved[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes answers to 4, each ended by a zero byte."""

SECONDS = 60.0
"""How long one answer of the browser may take; the machine may be busy."""


def executable() -> str | None:
    """Path of Chromium: `R2VPO_CHROMIUM`, or the first of `NAMES` that exists."""
    named = os.environ.get("R2VPO_CHROMIUM")
    return next((found for name in ([named] if named else NAMES) if (found := shutil.which(name))), None)


@contextlib.contextmanager
def chromium(*, width: int = 1200, height: int = 900) -> Iterator[Browser]:
    """A browser with an empty profile, which ends with the block; skips the test where there is none."""
    path = executable()
    if path is None:
        pytest.skip("no Chromium: install Debian's package chromium, or name one in R2VPO_CHROMIUM")
    commands, send = os.pipe()
    receive, answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(sys.executable, "-ISc", MOVE, str(commands), str(answers), path),
                *(*OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"),
            ],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        browser = Browser(send, receive)
        try:
            yield browser
        finally:
            with contextlib.suppress(OSError, ConnectionError, TimeoutError):
                browser.call("Browser.close")
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(send)
            os.close(receive)


class Browser:
    """The protocol: numbered calls, answers, and events of the pages."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._read = b""
        self._calls = 0
        self._pages: dict[str, Page] = {}

    def open(self, url: str) -> Page:
        """Open a page and wait until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.go(url)
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._calls += 1
        number = self._calls
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data) :]
        end = time.monotonic() + SECONDS
        while True:
            answer = self._next(end)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._receive], [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise TimeoutError(f"no answer of Chromium within {SECONDS:.0f} s")
            more = os.read(self._receive, 1 << 20)
            if not more:
                raise ConnectionError("Chromium has ended")
            self._read += more
        first, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        page = self._pages.get(message.get("sessionId", ""))
        if page and "method" in message:
            page.event(message["method"], message["params"])
        return message


class Page:
    """One page.

    Attributes:
        errors: uncaught exceptions and what the page or the browser reported as an error, in order.
        requests: URLs that were asked for, in order.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Load a URL in this page."""
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            raise RuntimeError(f"{url}: {failed}")
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, as JSON can carry it; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {_text(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = SECONDS) -> Any:
        """Evaluate a JavaScript expression until it is true, and return its value."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(condition)):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:.0f} s: {condition}; errors: {self.errors}")
            time.sleep(0.05)
        return value

    def mouse(self, x: float, y: float, *kinds: str, **details: Any) -> None:
        """Send real mouse events (`mouseMoved`, `mousePressed`, `mouseReleased`, `mouseWheel`) at a place in pixels."""
        for kind in kinds:
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **details)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, after scrolling to it."""
        x, y = self.middle(selector)
        self.mouse(x, y, "mouseMoved")
        self.mouse(x, y, "mousePressed", "mouseReleased", button="left", clickCount=1)

    def hover(self, selector: str) -> None:
        """Move the mouse to the middle of an element, after scrolling to it."""
        self.mouse(*self.middle(selector), "mouseMoved")

    def middle(self, selector: str) -> tuple[float, float]:
        """Middle of an element in pixels of the window, after scrolling to it."""
        box = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)}); if (!one) return null; "
            "one.scrollIntoView({block: 'center', behavior: 'instant'}); const r = one.getBoundingClientRect(); "
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        assert box, f"the page has no {selector}"
        return box[0], box[1]

    def type(self, text: str) -> None:
        """Type a text into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as a PNG file."""
        import base64

        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def event(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(_text(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(one.get("value", one.get("description"))) for one in parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])


def _text(details: dict[str, Any]) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))

"""`r2vpo watch` in a browser, while a real run is going, is stopped, is resumed and ends."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.browser import Page, chromium
from tests.integration.cli import BEHAVIOUR, RECIPE, start, wait_for, write_recipe


def test_a_page_follows_a_run_to_its_end(tmp_path: Path) -> None:
    with chromium() as browser:
        held = tmp_path / "held"
        recipe = write_recipe(tmp_path, RECIPE.replace("even_digits", "scripted"))
        training = start("train", str(recipe), folder=tmp_path, **{BEHAVIOUR: f"hold:2:{held}"})
        wait_for(held, training)
        (run,) = (tmp_path / "runs").iterdir()
        watching = start("watch", str(run), "--port", "0", folder=tmp_path)
        assert watching.stdout is not None
        url = watching.stdout.readline().split(" is shown at ")[1].split()[0]

        page = browser.open(url)
        live = "document.getElementById('live')"
        page.wait_for(f"{live}.dataset.state === 'running'")
        assert page.evaluate(f"{live}.textContent").startswith("scoring · step 4 of 8 · ")
        assert page.evaluate("document.title").startswith(run.name)
        assert page.evaluate(f"{live}.querySelector('progress').value") == 4
        page.evaluate("window.scrollTo(0, 400)")
        scrolled = page.evaluate("window.scrollY")

        training.send_signal(signal.SIGTERM)
        training.communicate(timeout=60)
        page.wait_for(f"{live}.dataset.state === 'stopped'")
        assert page.evaluate(f"{live}.textContent") == "stopped · step 4 of 8"

        resumed = start("train", "--resume", str(run), folder=tmp_path)
        page.wait_for(f"{live} && {live}.dataset.state === 'running'")
        out, err = resumed.communicate(timeout=120)
        assert resumed.returncode == 0, (out, err)
        page.wait_for(f"{live} && {live}.dataset.state === 'finished' && version === '{version(page)}'")
        assert "finished" in page.evaluate("document.querySelector('header').textContent")
        # The browser keeps what is read in its place, although what is above it has grown by a line.
        assert scrolled > 0 and abs(page.evaluate("window.scrollY") - scrolled) < 100

        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=20)
        assert (watching.returncode, out, err) == (0, "", "")
        page.wait_for(f"{live}.dataset.state === 'gone'")
        refused = [error for error in page.errors if "ERR_CONNECTION_REFUSED" not in error]
        assert refused == []
        assert {request.removeprefix(url) for request in page.requests} <= {"", "status.json"}


def version(page: Page) -> str:
    """The version of the run's records, as the server says."""
    return str(page.evaluate("fetch('/status.json').then((one) => one.json()).then((one) => one.version)"))

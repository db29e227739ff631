"""``r2vpo record``, as a process before a server in another one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r2vpo.store import RolloutStore
from r2vpo.store.tables import groups, runs, scores
from tests.completions_server import completions_server, free_port, running
from tests.tiny import tiny_model, tiny_tokenizer
from tests.unit.cli.helpers import failure
from tests.unit.recording.logs import stored


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with completions_server() as url:
        yield url


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def post(url: str, body: Any) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        found: dict[str, Any] = json.loads(response.read())
    return found


class Command:
    """The command before a server, with a store of its own."""

    def __init__(self, upstream: str, model: Path, folder: Path) -> None:
        self.port, self.store = free_port(), folder / "s.db"
        self.url = f"http://127.0.0.1:{self.port}"
        self.words = ["-m", "r2vpo", "record", "--upstream", upstream, "--store", str(self.store)]
        self.words += ["--port", str(self.port), "--model", str(model), "--reward", "thumb", "--ask"]
        self.words += ["--import-seconds", "3600"]

    def running(self) -> Any:
        return running(*self.words, url=f"{self.url}/r2vpo/status")

    def answer(self, thumb: int, **options: Any) -> None:
        said = post(f"{self.url}/v1/completions", {"prompt": "7+8=", **options})
        assert post(f"{self.url}/r2vpo/feedback", {"id": said["id"], "thumb": thumb}) == {"kept": True}


def test_sigterm_waits_for_answers_and_the_store_has_them(upstream: str, model: Path, tmp_path: Path) -> None:
    command = Command(upstream, model, tmp_path)
    with command.running() as process:
        command.answer(1)
        command.answer(0)
        last: dict[str, Any] = {}
        client = threading.Thread(
            target=lambda: last.update(post(f"{command.url}/v1/completions", {"prompt": "7+8=", "seconds": 2}))
        )
        client.start()
        while post_count(command.url) < 3:
            pass
        process.send_signal(signal.SIGTERM)
        client.join(60)
        assert last["choices"][0]["text"] == "15", "an answer on its way arrives"
        assert process.wait(120) == 0
    (run,) = stored(command.store, runs.c.name, runs.c.kind, by=runs.c.id)
    assert run == ("s", "proxy")
    assert stored(command.store, scores.c.score, by=scores.c.score) == [(0.0,), (1.0,)]
    spooled = [line for path in (tmp_path / "s.db.spool").iterdir() for line in path.read_text().splitlines()]
    assert len(spooled) == 1 + 3 + 2


def post_count(url: str) -> int:
    with urllib.request.urlopen(f"{url}/r2vpo/status", timeout=30) as response:
        return int(json.loads(response.read())["passed"])


def test_a_killed_proxy_loses_nothing_that_it_has_confirmed(upstream: str, model: Path, tmp_path: Path) -> None:
    command = Command(upstream, model, tmp_path)
    with command.running() as process:
        for thumb in (0, 1, 1):
            command.answer(thumb)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert not command.store.exists()
    with command.running() as process:
        command.answer(0)
        process.terminate()
        assert process.wait(120) == 0
    found = stored(command.store, scores.c.score, by=scores.c.score)
    assert found == [(0.0,), (0.0,), (1.0,), (1.0,)] and len(stored(command.store, runs.c.id, by=runs.c.id)) == 1
    with RolloutStore(command.store, create=False).reading() as connection:
        sizes = connection.execute(groups.select().with_only_columns(groups.c.size)).scalars().all()
    assert sum(sizes) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--upstream", "localhost:8000"], "--upstream localhost:8000: "),
        (["--store", "postgresql://u@127.0.0.1/r"], "name one for the recorded logs with --spool"),
        (["--reward", "thumb=up"], "'up' is not a number"),
        (["--model", "no/such/folder/here"], "no/such/folder/here"),
        (["--host", "192.0.2.1"], "192.0.2.1:0: "),
    ],
)
def test_wrong_input_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    given = {
        "--upstream": "http://127.0.0.1:9",
        "--store": str(tmp_path / "s.db"),
        "--model": str(model),
        "--reward": "thumb",
        "--port": "0",
        options[0]: options[1],
    }
    assert message in failure(capsys, 2, "record", *[word for pair in given.items() for word in pair])


def test_the_port_may_be_taken(upstream: str, model: Path, tmp_path: Path) -> None:
    command = Command(upstream, model, tmp_path)
    command.words[command.words.index("--port") + 1] = upstream.rsplit(":", 1)[1]

    done = subprocess.run([sys.executable, *command.words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and "address already in use: choose another --host or --port" in done.stderr

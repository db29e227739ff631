"""A hub that does not answer is noticed once and said in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import r2vpo.hub
from r2vpo.hub import _answers
from r2vpo.models.catalog import suggestion

NOBODY = "http://127.0.0.1:9"
RECIPE = """\
name: hub
model: {name: someone/llama-model}
data: {source: reasoning_gym, mixture: [{family: chain_sum, difficulty: easy}]}
"""


class Missing(BaseHTTPRequestHandler):
    """Answers that there is nothing."""

    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Missing) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def test_any_answer_is_a_sign_of_life(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert _answers(server) and not _answers(NOBODY)


def test_a_silent_hub_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(r2vpo.hub, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not _answers(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(
    ("offline", "said", "remedy"),
    [("0", f"{NOBODY} does not answer", "connect to the network"), ("1", "HF_HUB_OFFLINE is set", "unset it")],
)
def test_a_model_that_cannot_be_fetched_is_one_line(tmp_path: Path, offline: str, said: str, remedy: str) -> None:
    recipe = tmp_path / "hub.yaml"
    recipe.write_text(RECIPE)
    done = subprocess.run(
        [sys.executable, "-m", "r2vpo", "plan", str(recipe)],
        env=os.environ | {"HF_ENDPOINT": NOBODY, "HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == (
        f"r2vpo: error: model.name 'someone/llama-model': {said}, and the model is not in the hub's cache: {remedy}, "
        "or name a folder that save_pretrained wrote, or a model that `r2vpo models` lists"
    )


def test_the_libraries_of_the_process_are_told(tmp_path: Path) -> None:
    code = (
        "import datasets, huggingface_hub.constants as hub\n"
        "from r2vpo.hub import why_offline\n"
        "from r2vpo.models import load_model\n"
        "from r2vpo.data import DatasetOptions, load_data\n"
        "from r2vpo.errors import UserError\n"
        "assert not hub.HF_HUB_OFFLINE and 'does not answer' in why_offline()\n"
        "assert hub.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE\n"
        "for load in (lambda: load_model('a/b'), lambda: load_data(DatasetOptions(path='a/b'), seed=0)):\n"
        "    try:\n        load()\n    except UserError as error:\n        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_ENDPOINT": NOBODY, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Retrying" not in done.stderr
    model, data = done.stdout.splitlines()
    assert "the model is not in the hub's cache" in model and "connect to the network" in data


def test_a_suggestion_needs_a_similar_owner() -> None:
    assert suggestion("someone/random-llama-2") == ""
    assert "embedded/smollm2-135m" in suggestion("embeded/smollm2-135m")
    assert "embedded/smollm2-135m" in suggestion("smollm2-135")

"""The server of a live report: what it answers, what it refuses, and that it only reads."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from r2vpo.config.folder_lock import working_in
from r2vpo.config.run_directory import RunDirectory, create_run
from r2vpo.config.run_events import append_event
from r2vpo.errors import UserError
from r2vpo.report.live import LiveServer
from tests.unit.report.synthetic_run import accuracy, make_run, synthetic_recipe


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path, steps=8, finished=False)


@pytest.fixture
def server(run: RunDirectory) -> Iterator[LiveServer]:
    with LiveServer(run, host="127.0.0.1", port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(server: LiveServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer, answer.read().decode()


def status(server: LiveServer) -> dict[str, object]:
    found: dict[str, object] = json.loads(asked(server, "/status.json")[1])
    return found


def test_it_serves_the_report_and_the_state_without_writing_into_the_run(server: LiveServer, run: RunDirectory) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir() if path.name != ".lock"}
    answer, page = asked(server, "/")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"<title>{run.path.name}" in page and "/status.json" in page
    assert answer.headers["Cache-Control"] == "no-store"
    head, empty = asked(server, "/", "HEAD")
    assert head.headers["Content-Length"] == answer.headers["Content-Length"] and empty == ""
    assert status(server)["state"] == "stopped"
    after = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir() if path.name != ".lock"}
    assert after == before


def test_the_state_is_that_of_the_process(server: LiveServer, run: RunDirectory, tmp_path: Path) -> None:
    run.write_status({"now": "generating", "how_far": "3 of 8", "step": 8, "of_steps": 160, "seconds_left": 12.5})
    with working_in(run.path, instead="wait"):
        found = status(server)
        assert (found["state"], found["now"], found["how_far"], found["step"]) == ("running", "generating", "3 of 8", 8)
    assert status(server)["state"] == "stopped", "the process has ended, whatever it wrote last"
    run.status.write_text("{ not whole")
    assert "now" not in status(server)
    make_run(tmp_path / "whole")
    run.summary.write_bytes(next((tmp_path / "whole").rglob("summary.json")).read_bytes())
    assert status(server)["state"] == "finished"


def test_a_record_changes_the_version_and_the_page(server: LiveServer, run: RunDirectory) -> None:
    first, page = status(server)["version"], asked(server, "/")[1]
    assert asked(server, "/")[1] is not page and asked(server, "/")[1] == page
    assert status(server)["version"] == first and str(first) in page
    run.append_evaluation({"step": 8, "split": "held_out", "accuracy": accuracy(0.123), "by_difficulty": {}})
    second = status(server)["version"]
    changed = asked(server, "/")[1]
    assert second != first and changed != page and str(second) in changed


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    with LiveServer(run, host="127.0.0.1", port=0) as server:
        assert run.path.name in server.live.page()
        assert server.live.status() == {"state": "stopped", "version": server.live.version()}


def test_a_damaged_run_is_an_answer_in_words(server: LiveServer, run: RunDirectory) -> None:
    run.metrics.write_text("damaged\n")
    answer, text = asked(server, "/")
    assert answer.status == 500 and text.startswith("r2vpo watch: ") and "line 1 is not a JSON object" in text
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert status(server)["state"] == "stopped"


@pytest.mark.parametrize(
    "path",
    ["/config.yaml", "/metrics.jsonl", "/../config.yaml", "/%2e%2e/config.yaml", "//etc/passwd", "/status.json/x", "*"],
)
def test_it_serves_no_file(path: str, server: LiveServer) -> None:
    answer, text = asked(server, path)
    assert answer.status in (400, 404) and "root:" not in text and "seed" not in text


def test_the_path_may_have_a_query(server: LiveServer) -> None:
    assert asked(server, "/?a=/../x")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
def test_it_answers_only_get_and_head(method: str, server: LiveServer) -> None:
    assert asked(server, "/", method)[0].status == 405


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example:{port}", 403),
        ("localhost", 200),  # a port that is forwarded, as by ssh -L, has another number
        ("localhost:1", 200),
        ("{machine}:{port}", 403),
        ("{machine}.local:{port}", 403),
        ("", 403),
        ("127.0.0.1:{port}:x", 403),
        ("user@evil.example:{port}", 403),
    ],
)
def test_other_hosts_are_refused(host: str, code: int, server: LiveServer) -> None:
    named = host.format(port=server.server_address[1], machine=socket.gethostname())
    for path in ("/", "/status.json"):
        answer, text = asked(server, path, Host=named)
        assert answer.status == code
        assert code == 200 or "synthetic" not in text


def test_a_port_in_use_is_one_line(server: LiveServer, run: RunDirectory) -> None:
    port = server.server_address[1]
    with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: Address already in use: name"):
        LiveServer(run, host="127.0.0.1", port=port)
    with pytest.raises(UserError, match=r"cannot listen on no\.such\.invalid, port 0"):
        LiveServer(run, host="no.such.invalid", port=0)


def test_a_name_that_the_server_was_given_is_ours(run: RunDirectory) -> None:
    with LiveServer(run, host="localhost", port=0) as server:
        port = server.server_address[1]
        assert server.url == f"http://localhost:{port}/"
        assert server.is_ours(f"localhost:{port}") and not server.is_ours(None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_every_address_of_the_machine_comes_with_its_names(run: RunDirectory, host: str) -> None:
    machine = socket.gethostname()
    with LiveServer(run, host=host, port=0) as server:
        port = server.server_address[1]
        assert server.exposed and server.url == f"http://{machine}:{port}/"
        ours = [
            machine,
            machine.upper(),
            socket.getfqdn(),
            f"{machine.partition('.')[0]}.local",
            "192.0.2.7",
            "[fe80::1]",
        ]
        for name in ("localhost", *ours):
            assert server.is_ours(f"{name}:{port}"), name
        for name in ("evil.example", f"{machine}.evil.example", "", "evil.example:80@"):
            assert not server.is_ours(f"{name}:{port}"), name


def test_a_defect_and_an_event_reach_the_page(
    server: LiveServer, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = status(server)["version"]
    append_event(run.path, "note", "something", step=3)
    assert status(server)["version"] != before

    def broken(runs: object) -> str:
        raise TypeError("not a number")

    monkeypatch.setattr("r2vpo.report.live.report_html", broken)
    answer, text = asked(server, "/")
    assert (answer.status, text) == (500, "r2vpo watch: TypeError: not a number\n")


def test_an_empty_host_is_not_every_address(run: RunDirectory) -> None:
    with pytest.raises(UserError, match="--host is empty"):
        LiveServer(run, host="", port=0)

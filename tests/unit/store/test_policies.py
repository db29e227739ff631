"""Published policies are whole, and few."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from r2vpo.store.policies import KEPT, Policy, finish, is_finished, newest, publish


def write(folder: Path) -> None:
    (folder / "weights").write_text("w" * 1000)


def policy(version: int) -> Policy:
    return Policy("run", version, f"weights of {version}")


def test_the_newest_is_found_and_older_ones_go(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    assert newest(folder) is None
    for version in range(9, 13):
        publish(folder, policy(version), write)
        found = newest(folder)
        assert found == (policy(version), folder / str(version)) and (found[1] / "weights").stat().st_size == 1000
    assert sorted(path.name for path in folder.iterdir()) == ["11", "12"] and KEPT == 2


def test_a_failed_one_is_not_seen(tmp_path: Path) -> None:
    publish(tmp_path, policy(1), write)

    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        publish(tmp_path, policy(2), fail)
    assert newest(tmp_path) == (policy(1), tmp_path / "1") and len(list(tmp_path.iterdir())) == 1


def test_a_run_that_resumes_earlier_publishes_again(tmp_path: Path) -> None:
    for version in (5, 6, 7):
        publish(tmp_path, policy(version), write)
    finish(tmp_path)
    assert is_finished(tmp_path)
    publish(tmp_path, policy(4), write)
    found = newest(tmp_path)
    assert found is not None and found[0].version == 4 and not is_finished(tmp_path)


def test_another_run_in_the_same_folder_publishes_its_own(tmp_path: Path) -> None:
    for version in (0, 1):
        publish(tmp_path, policy(version), write)
    mine = Policy("another", 0, "other weights")
    publish(tmp_path, mine, lambda folder: (folder / "weights").write_text("v") and None)
    assert newest(tmp_path) == (mine, tmp_path / "0") and (tmp_path / "0" / "weights").read_text() == "v"
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    publish(tmp_path, mine, lambda folder: pytest.fail("it is there"))


def _publish_for_ever(folder: Path, begun: Any) -> None:
    def slowly(target: Path) -> None:
        begun.set()
        for part in range(50):
            (target / f"part-{part}").write_text("x")
            time.sleep(0.001)

    for version in range(10_000):
        publish(folder, policy(version), slowly)


def test_a_killed_publisher_leaves_whole_ones(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=_publish_for_ever, args=(tmp_path, begun))
    process.start()
    assert begun.wait(60)
    time.sleep(0.3)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    found = newest(tmp_path)
    assert found is None or len(list(found[1].glob("part-*"))) == 50
    publish(tmp_path, policy(10_001), write)
    assert not list(tmp_path.glob(".*.tmp"))

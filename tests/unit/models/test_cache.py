"""The cache's folders appear whole or not at all."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from r2vpo.errors import UserError
from r2vpo.models.cache import NEEDED_FILES, build_once, cache_root, is_complete


def write_all(folder):
    for name in NEEDED_FILES:
        (folder / name).write_text("{}")


def slow_build(folder):
    (folder / NEEDED_FILES[0]).write_text(str(os.getpid()))
    time.sleep(0.5)
    write_all(folder)
    with (folder.parent / "builds").open("a") as file:
        file.write("x")


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("R2VPO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "r2vpo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "r2vpo"


def test_it_is_built_once(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        write_all(folder)

    target = tmp_path / "models" / "one"
    assert build_once(target, build) == build_once(target, build) == target
    assert len(calls) == 1 and calls[0] != target and is_complete(target)
    (target / NEEDED_FILES[1]).unlink()
    build_once(target, build)
    assert len(calls) == 2 and is_complete(target)


def test_two_processes_at_once_build_one(tmp_path):
    target = tmp_path / "one"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=build_once, args=(target, slow_build)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert is_complete(target) and (tmp_path / "builds").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["builds", "one"]


def test_a_killed_build_leaves_nothing_half_and_is_cleaned_up(tmp_path):
    target = tmp_path / "one"
    process = multiprocessing.get_context("fork").Process(target=build_once, args=(target, slow_build))
    process.start()
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".one.new.tmp/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not target.exists() and (tmp_path / ".one.new.tmp").exists()
    build_once(target, write_all)
    assert is_complete(target) and not (tmp_path / ".one.new.tmp").exists()


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def broken(folder):
        (folder / NEEDED_FILES[0]).write_text("{}")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        build_once(tmp_path / "one", broken)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_way_out(tmp_path):
    def full(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"the disk is full.*R2VPO_CACHE"):
        build_once(tmp_path / "one", full)

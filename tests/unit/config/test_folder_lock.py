"""A folder is worked in by one process, others learn by which, and a killed one leaves it free."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from r2vpo.config.folder_lock import HOLDER, LOCK, FolderInUse, is_empty, new_folder, working_in
from r2vpo.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from r2vpo.config.folder_lock import working_in
sys.argv = ["/usr/bin/r2vpo", "train", "habit", "--set", "seed=1"]
with working_in(Path({folder!r}), instead="x"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD.format(folder=str(tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_works_there(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(UserError) as refused, working_in(tmp_path, instead="choose another"):
        pass
    assert str(refused.value) == (
        f"{tmp_path}: process {holder.pid} on {socket.gethostname()} (r2vpo train habit --set seed=1) works here: wait "
        "for it, stop it, or choose another"
    )
    (tmp_path / HOLDER).unlink()
    os.mkfifo(tmp_path / HOLDER)
    with pytest.raises(FolderInUse, match="another process works here"), working_in(tmp_path, instead="x"):
        pass
    (tmp_path / HOLDER).unlink()
    (tmp_path / HOLDER).write_text("{")
    with pytest.raises(UserError, match="another process works here"), working_in(tmp_path, instead="choose another"):
        pass


def test_a_look_at_a_folder_keeps_nobody_out(tmp_path: Path) -> None:
    looked = FileLock(tmp_path / LOCK, thread_local=False)
    looked.acquire()
    threading.Timer(0.05, looked.release).start()
    with working_in(tmp_path, instead="choose another"):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()


def test_a_killed_process_leaves_the_folder_free(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    with working_in(tmp_path, instead="choose another"):
        assert json.loads((tmp_path / HOLDER).read_text())["pid"] == os.getpid()
    assert not (tmp_path / HOLDER).exists() and is_empty(tmp_path)


def test_what_was_raised_inside_frees_the_folder_and_arrives(tmp_path: Path) -> None:
    with pytest.raises(KeyError), working_in(tmp_path, instead="x"):
        raise KeyError
    with working_in(tmp_path, instead="x"):
        (tmp_path / "file").touch()
        assert not is_empty(tmp_path)


def test_no_folder_is_given_to_two(tmp_path: Path) -> None:
    made: list[Path] = []
    start = threading.Barrier(20)

    def make() -> None:
        start.wait()
        made.append(new_folder(tmp_path / "all", "run"))

    threads = [threading.Thread(target=make) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {"run"} | {f"run-{number}" for number in range(2, 21)}
    assert {path.name for path in made} == names == {path.name for path in (tmp_path / "all").iterdir()}

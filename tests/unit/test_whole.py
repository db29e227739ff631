"""Files and folders appear under their names whole or not at all, and what was there before is not lost."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import stat
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from r2vpo.disk import disk_failure
from r2vpo.errors import UserError
from r2vpo.whole import set_permissions, write_file, write_folder

FORK = multiprocessing.get_context("fork")


def put(name: str, text: str = "") -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / name).write_text(text)

    return fill


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(target: Path, fill: Callable[[Path], None], *, at_rename: int) -> None:
    """Write a folder in a process that SIGKILL ends right before one of its renames."""

    def work() -> None:
        replace, count = os.replace, 0

        def counted(source: Path, place: Path) -> None:
            nonlocal count
            if count == at_rename:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            replace(source, place)

        os.replace = counted  # type: ignore[assignment]  # in this process, which ends
        write_folder(target, fill)

    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_a_folder_is_replaced_when_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "place" / "model"
    write_folder(target, put("a"))

    def fail(folder: Path) -> None:
        (folder / "a").write_text("half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_folder(target, fail)
    assert names(target.parent) == ["model"] and (target / "a").read_text() == ""
    write_folder(target, put("b"))
    assert names(target.parent) == ["model"] and names(target) == ["b"]


def test_a_file_is_replaced_when_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    write_file(target, lambda new: new.write_text("first"))

    def interrupted(new: Path) -> None:
        new.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(target, interrupted)
    assert names(tmp_path) == ["model.gguf"] and target.read_text() == "first"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="file: this is a file, and a folder of that name must be written there"):
        write_folder(tmp_path / "file", put("a"))
    with pytest.raises(UserError, match="folder: this is a folder, and a file of that name must be written there"):
        write_file(tmp_path / "folder", lambda new: new.write_text(""))
    assert names(tmp_path) == ["file", "folder"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("there", "at_rename"), [(False, 0), (True, 0), (True, 1)])
def test_what_a_killed_process_left_is_put_back_or_removed(tmp_path: Path, there: bool, at_rename: int) -> None:
    target = tmp_path / "model"
    if there:
        write_folder(target, put("former"))
    killed(target, put("half"), at_rename=at_rename)
    assert not (target / "half").exists()

    def seen(folder: Path) -> None:
        assert target.is_dir() == there and (not there or names(target) == ["former"])
        put("new")(folder)

    write_folder(target, seen)
    assert names(tmp_path) == ["model"] and names(target) == ["new"]


def test_an_interrupt_between_the_two_renames_restores_the_former_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replace = tmp_path / "model", os.replace
    write_folder(target, put("mine"))

    def interrupted(source: Path, place: Path) -> None:
        if place == target and (source / "new").exists():
            raise KeyboardInterrupt
        replace(source, place)

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target, put("new"))
    assert names(tmp_path) == ["model"] and names(target) == ["mine"]


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupt_during_the_clean_up_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    target, remove, count = tmp_path / "model", shutil.rmtree, 0

    def interrupted(folder: Path, **options: bool) -> None:
        nonlocal count
        count += 1
        signal.raise_signal(signal.SIGINT)
        remove(folder, **options)

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise ValueError("no more")

    if there:
        write_folder(target, put("former"))
    monkeypatch.setattr("shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target, fail)
    assert count == 1 and names(tmp_path) == ["model"] * there
    with pytest.raises(KeyboardInterrupt) if there else nullcontext():
        write_folder(target, put("new"))
    assert count == 1 + there and names(tmp_path) == ["model"] and names(target) == ["new"]


def test_an_interrupt_of_the_work_is_not_put_off(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it was put off")

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "model", interrupted)
    assert names(tmp_path) == []


def test_whether_it_is_still_wanted_is_asked_before_and_after(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def taken() -> None:
        if target.exists():
            raise UserError("taken")

    def meanwhile(folder: Path) -> None:
        target.mkdir()
        (target / "of another program").touch()

    with pytest.raises(UserError, match="taken"):
        write_folder(target, meanwhile, unless=taken)
    assert names(target) == ["of another program"] and names(tmp_path) == ["model"]
    write_folder(target, put("new"), unless=lambda: True)
    assert names(target) == ["of another program"]


def test_files_are_as_open_as_their_folder_and_those_with_more_names_are_left(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "weights", tmp_path / "folder"
    elsewhere.touch(mode=0o600)
    before = os.umask(0o027)
    try:
        folder.mkdir()
    finally:
        os.umask(before)
    os.link(elsewhere, folder / "linked")
    (folder / "part").mkdir()
    for name in ("own", "part/own", "program"):
        (folder / name).touch(mode=0o700 if name == "program" else 0o600)
    set_permissions(folder)
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("own", "part/own", "program", "linked")}
    assert modes == {"own": 0o640, "part/own": 0o640, "program": 0o740, "linked": 0o600}


def test_a_disk_on_which_permissions_cannot_be_changed_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr("pathlib.Path.chmod", refused)
    write_folder(tmp_path / "model", lambda folder: (folder / "own").touch(mode=0o600))
    assert names(tmp_path / "model") == ["own"]


@pytest.mark.parametrize("how", ["python", "numpy", "copy"])
def test_a_full_disk_is_said_of_the_target(tmp_path: Path, how: str) -> None:
    target, source = tmp_path / "model", tmp_path / "source"
    source.write_text("x" * 100_000)

    def write(new: Path) -> None:
        new.symlink_to("/dev/full")
        if how == "numpy":
            with new.open("wb", buffering=0) as file:
                np.zeros(100_000).tofile(file)
        else:
            new.write_text(source.read_text())

    with pytest.raises(OSError) as caught:
        write_file(target, write)
    failed = disk_failure(caught.value)
    assert failed is not None and failed.path == str(target) and failed.what.startswith("the disk is full")
    assert names(tmp_path) == ["source"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "model", tmp_path / "file" / "further" / "model"):
        with pytest.raises(OSError) as caught:
            write_folder(target, put("a"))
        assert caught.value.filename == str(target) and caught.value.errno in (errno.ENOTDIR, errno.EEXIST)

"""One atomic file for a state."""

import errno
import os

import pytest
import torch

from r2vpo.errors import UserError
from r2vpo.replay import ReplayBuffer
from r2vpo.replay.snapshot import load, save
from tests.unit.replay.rows import filled, numbers


def test_a_buffer_goes_through_a_file_to_the_same_next_draw(tmp_path):
    buffer = filled(ReplayBuffer(seed=2), range(3))
    buffer.sample(16, 3)
    save(tmp_path / "replay.pt", buffer.state_dict())
    other = ReplayBuffer()
    other.load_state_dict(load(tmp_path / "replay.pt"))
    assert numbers(other.sample(24, 3)) == numbers(buffer.sample(24, 3))
    assert other.statistics() == buffer.statistics()
    assert os.listdir(tmp_path) == ["replay.pt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_earlier_file_and_no_litter(tmp_path, monkeypatch, failing):
    path = tmp_path / "state.pt"
    save(path, {"step": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(UserError, match=r"state\.pt: No space left on device: free space"):
            save(path, {"step": 2, "weights": torch.zeros(1000)})
    assert load(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["state.pt"]


def test_the_file_and_then_the_folder_are_flushed(tmp_path, monkeypatch):
    flushed, sync = [], os.fsync

    def record(descriptor):
        flushed.append(os.path.isdir(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    save(tmp_path / "state.pt", {"step": 1})
    assert flushed == [False, True]


@pytest.mark.parametrize("cut", [0, 10, 40, 60, 500])
def test_a_file_cut_short_is_refused(tmp_path, cut):
    path = tmp_path / "state.pt"
    save(path, {"weights": torch.arange(100)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"state\.pt.*(damaged|not a snapshot).*earlier checkpoint"):
        load(path)


def test_one_altered_byte_is_noticed(tmp_path):
    path = tmp_path / "state.pt"
    save(path, {"weights": torch.arange(100)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="checksum"):
        load(path)


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*gone\.pt: No such file"):
        load(tmp_path / "gone.pt")
    with pytest.raises(UserError, match="cannot write"):
        save(tmp_path / "no_folder" / "state.pt", {})
    save(tmp_path / "list.pt", [1, 2])
    with pytest.raises(UserError, match="holds a list"):
        load(tmp_path / "list.pt")
    save(tmp_path / "object.pt", {"buffer": ReplayBuffer()})
    with pytest.raises(UserError) as caught:
        load(tmp_path / "object.pt")
    assert "\n" not in str(caught.value)

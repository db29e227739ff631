"""A run of one process says that other GPUs are visible. There is none here: only their number is replaced."""

from __future__ import annotations

import pytest
import torch

from r2vpo.training.devices import unused_gpus


def test_only_gpus_that_are_left_unused_are_worth_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 1, 4):
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        note = unused_gpus(on_cpu=False)
        assert note is None if count < 2 else note is not None and note.startswith("4 GPUs are visible"), count
        assert unused_gpus(on_cpu=True) is None

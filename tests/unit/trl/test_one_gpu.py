"""One process computes on one GPU, however many are visible. There is none here: only their number is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.training_args import ParallelMode

from tests.tiny import tiny_trainer


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two visible GPUs, as far as transformers' arguments ask for their number; the device remains the CPU."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_the_model_is_not_copied_to_the_others(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, use_cpu=False, bf16=False, max_steps=2)
    assert not trainer.args.use_cpu and trainer.args.n_gpu == 1
    assert trainer.args.parallel_mode == ParallelMode.NOT_PARALLEL
    assert trainer.args.train_batch_size == trainer.args.per_device_train_batch_size
    trainer.train()
    assert trainer.state.global_step == 2 and not isinstance(trainer.model_wrapped, nn.DataParallel)

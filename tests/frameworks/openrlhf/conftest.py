"""OpenRLHF imports flash_attn and vllm, which have no build for CPUs, and asks for the current GPU."""

import pytest
import torch

from tests.frameworks.openrlhf.shims import install

install()


@pytest.fixture(autouse=True)
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host in place of the GPU that it asks for."""
    from openrlhf.trainer.ray import ppo_actor

    from tests.frameworks.openrlhf.plain import HostDevice

    monkeypatch.setattr(torch.cuda, "current_device", lambda: HostDevice("cpu"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *args: None)
    monkeypatch.setattr(ppo_actor, "torch_dist_barrier_and_cuda_sync", lambda: None)

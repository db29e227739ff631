"""No test goes to a hub. Workers that share the cores compute with one thread each, as do the processes they start."""

import gc
import os
import signal
from collections.abc import Generator

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once

import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C, and the processes that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage neither during the imports, which leave little, nor later among what they have made.

    Every training ends with a search (accelerate's `free_memory`). Through all modules it takes longer than a tiny
    training.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that no core is left without work while the last one ends."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def settings() -> dict[str, object]:
    """Return what a test may change for the whole process, and with it the results of later tests."""
    return {
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "autocast on a CPU": torch.is_autocast_enabled("cpu"),
        "autocast's type on a CPU": torch.get_autocast_dtype("cpu"),
        "denormal numbers": float(torch.tensor(1e-40) * 1.0),
        "anomaly detection": torch.is_anomaly_enabled(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


@pytest.fixture(autouse=True)
def nothing_left_behind() -> object:
    """Fail a test that leaves a process-wide setting of torch changed."""
    before = settings()
    yield
    assert settings() == before

"""No test goes to a hub. Workers that share the cores compute with one thread each, as do the processes they start."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that no core is left without work while the last one ends."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)

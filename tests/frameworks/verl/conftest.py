"""One Ray for the whole folder: to start it takes longer than most of what is tested in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    if " " in sys.prefix:
        pytest.skip("Ray starts no worker from an environment whose path has a space")
    root = str(Path(__file__).parents[3])
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": root}})
    yield
    ray.shutdown()

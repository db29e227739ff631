"""What several tests of comparisons share."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """Cells have all cores of a comparison: with two of them, beside other tests, one takes several times as long."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {random.choice(sorted(cores))})
    yield
    os.sched_setaffinity(0, cores)

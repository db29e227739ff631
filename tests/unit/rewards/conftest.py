"""The isolations of the reward `code`, each where this machine has it."""

from functools import cache

import pytest

from r2vpo.rewards.sandbox import Settings, Unusable, probe


@cache
def why_not(isolation):
    try:
        probe(Settings(isolation, 512 << 20))
    except Unusable as error:
        return str(error)
    return None


@pytest.fixture(params=["process", "bubblewrap"])
def isolation(request):
    """One of the two; skipped where the machine lacks it (no bubblewrap, or none that may make namespaces)."""
    if why := why_not(request.param):
        pytest.skip(f"the isolation {request.param} does not work here: {why}")
    return request.param

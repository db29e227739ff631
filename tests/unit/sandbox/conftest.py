"""Each kind of sandbox that this machine has."""

import pytest

from r2vpo.sandbox import Settings
from tests.unit.rewards.conftest import why_not

KINDS = {
    "bubblewrap": Settings("bubblewrap", 1 << 29),
    "process": Settings("process", 1 << 29, own_root=True),
    "process without namespaces": Settings("process", 1 << 29),
}


@pytest.fixture(params=KINDS, scope="module")
def settings(request):
    """Of one kind; one that the machine does not have is skipped."""
    found = KINDS[request.param]
    if why := why_not(found.isolation):
        pytest.skip(f"the isolation {request.param} cannot be had here: {why}")
    return found

"""The isolations of the reward `code`, each where this machine has it."""

import shutil
import subprocess
import sys
from functools import cache

import pytest


@cache
def why_not(isolation):
    """Why this machine cannot have it, found out without the code under test: a sandbox that does not hold fails."""
    if sys.platform != "linux":
        return "it needs Linux"
    if isolation == "process":
        return None
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed"
    command = [program, "--unshare-all", "--unshare-user", "--ro-bind", "/", "/", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return None if done.returncode == 0 else f"bubblewrap makes no namespaces: {done.stderr.strip()}"


@pytest.fixture(params=["process", "bubblewrap"])
def isolation(request):
    """One of the two; bubblewrap is skipped where it is not installed, or may not make namespaces."""
    if why := why_not(request.param):
        pytest.skip(f"the isolation {request.param} cannot be had here: {why}")
    return request.param

"""What a user's function leaves behind in the process does not reach training."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from r2vpo.rewards.undisturbed import shown, undisturbed


def call(function: Callable[[], object]) -> None:
    with undisturbed():
        function()


def test_inference_mode_is_left() -> None:
    held = []

    def enters() -> None:
        held.append(torch.inference_mode())
        held[-1].__enter__()

    for _ in range(2):
        call(enters)
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
        weight = torch.ones(2, requires_grad=True)
        (weight * torch.ones(2) * weight).sum().backward()
        assert weight.grad is not None
    with torch.no_grad():
        call(enters)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        call(lambda: None)
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_settings_of_torch_are_put_back() -> None:
    def sets() -> None:
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.autograd.set_detect_anomaly(True)
        torch.backends.cudnn.deterministic = torch.backends.cudnn.benchmark = True

    threads = torch.get_num_threads()
    call(sets)
    assert torch.get_num_threads() == threads and not torch.is_anomaly_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark


def test_warnings_do_not_become_errors_and_what_is_ignored_stays_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        before = list(warnings.filters)
        call(lambda: warnings.simplefilter("error"))
        assert warnings.filters == before
        call(warnings.resetwarnings)
        assert warnings.filters == before
        call(lambda: warnings.catch_warnings(action="ignore").__enter__())
        call(lambda: warnings.filterwarnings("ignore", message="of a library"))
        assert warnings.filters[0][0] == "ignore" and warnings.filters[-len(before) :] == before
        with pytest.warns(FutureWarning, match="soon"):
            warnings.warn("soon", FutureWarning, stacklevel=1)


def test_rounding_is_no_error_and_recursion_goes_as_deep_as_before() -> None:
    depth, rounding = sys.getrecursionlimit(), np.geterr()
    call(lambda: (np.seterr(all="raise"), sys.setrecursionlimit(depth - 100)))
    assert np.geterr() == rounding and sys.getrecursionlimit() == depth


@pytest.mark.parametrize("seed", [0, 5])
def test_a_seed_does_not_reach_the_runs_draws(seed: int) -> None:
    """The run's own seed is 5."""
    torch.manual_seed(5)
    torch.rand(3)
    expected = torch.rand(2)
    torch.manual_seed(5)
    torch.rand(3)

    def seeds() -> None:
        torch.manual_seed(seed)
        torch.rand(7)

    with undisturbed():
        call(seeds)
    assert torch.equal(torch.rand(2), expected) and torch.initial_seed() == 5


def test_draws_without_a_seed_differ_from_call_to_call() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2, 3)
    torch.manual_seed(5)
    drawn: list[torch.Tensor] = []
    for _ in range(2):
        with undisturbed():
            call(lambda: drawn.append(torch.rand(3)))
    assert torch.equal(torch.stack(drawn), expected) and torch.initial_seed() == 5
    with undisturbed():
        first = random.random(), np.random.rand()
    with undisturbed():
        assert first != (random.random(), np.random.rand())


def test_timers_and_handlers_are_put_back() -> None:
    numbers = [signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]
    before = [signal.getsignal(number) for number in numbers]

    def sets() -> None:
        for number in numbers:
            signal.signal(number, lambda *_: pytest.fail("called"))
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    call(sets)
    assert [signal.getsignal(number) for number in numbers] == before
    time.sleep(0.1)


def test_a_timer_of_the_caller_goes_on() -> None:
    previous = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100)
        call(lambda: None)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("then", ["", "; sys.exit(0)", "; raise ValueError"])
def test_a_fork_ends_when_the_function_returns(then: str) -> None:
    code = (
        "import os, sys, time\nfrom r2vpo.rewards.undisturbed import undisturbed\nparent = os.getpid()\n"
        f"def forks():\n    child = os.fork()\n    if child: return child\n    os.write(1, b'child '){then}\n"
        "with undisturbed():\n    child = forks()\n"
        "assert os.getpid() == parent, 'a child goes on'\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ)
    assert (result.returncode, result.stdout, result.stderr) == (0, "child 1\n", "")


def test_what_has_no_text_is_shown_by_its_class() -> None:
    class Leaving:
        def __repr__(self) -> str:
            sys.exit(0)

    assert (shown(Leaving()), shown([Leaving()]), shown("x")) == ("a Leaving", "a list", "'x'")

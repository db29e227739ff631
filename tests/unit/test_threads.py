"""The number of CPU threads: measured where it is open, and left alone where it was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from r2vpo import threads
from r2vpo.threads import (
    candidates,
    fastest,
    given_number,
    measured,
    model_work,
    standard_work,
    usable_cores,
    use_fastest,
    use_number,
)
from tests.tiny import tiny_model

CORES = len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def torch_chooses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that says nothing about threads, with all cores."""
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    yield
    torch.set_num_threads(before)


several = pytest.mark.skipif(CORES < 2, reason="one core")


class Clock:
    """A clock that only work moves, so that other programs on this machine have no say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(threads, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def work(self, for_one: float, *for_more: float) -> threads.Work:
        """Work that takes so many seconds with one thread, and with more threads one of these, in turn."""
        more = cycle(for_more)

        def once() -> None:
            self.now += for_one if torch.get_num_threads() == 1 else next(more)

        return once


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_candidates_double_up_to_all() -> None:
    assert [candidates(most) for most in (1, 2, 3, 4, 6, 8)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 4],
        [1, 2, 4, 6],
        [1, 2, 4, 8],
    ]


@several
def test_fewer_are_taken_where_they_are_faster(clock: Clock) -> None:
    work = clock.work(0.001, 0.01)
    assert fastest(work).number == 1 and torch.get_num_threads() == CORES, "it only measures"
    chosen = use_fastest(work)
    assert chosen.number == torch.get_num_threads() == 1
    assert set(chosen.rates) == set(candidates(CORES)) and chosen.rates[1] == pytest.approx(10 * chosen.rates[CORES])
    assert chosen.described().startswith("1 thread: measured, ") and f"times as fast as {CORES}" in chosen.because


@several
@pytest.mark.parametrize("for_more", [0.002, 0.011], ids=["faster", "hardly slower"])
def test_all_are_kept_where_fewer_are_not_much_faster(for_more: float, clock: Clock) -> None:
    chosen = use_fastest(clock.work(0.01, for_more))
    assert chosen.number == torch.get_num_threads() == CORES
    assert chosen.because == "measured, fewer are not faster"


@several
def test_a_number_counts_by_its_slowest_measurement(clock: Clock) -> None:
    """All threads are usually twice as fast, but one pass in a hundred waits for a core."""
    chosen = use_fastest(clock.work(0.002, *[0.001] * 99, 0.5))
    assert chosen.number == 1 and chosen.rates[CORES] < 100 < chosen.rates[1]


def test_a_given_number_is_kept_and_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise AssertionError("measured")

    for name in threads.VARIABLES:
        monkeypatch.setenv(name, str(CORES))
        chosen = use_fastest(work)
        assert (chosen.number, chosen.because, chosen.rates) == (CORES, f"{name} says so", {})
        monkeypatch.delenv(name)
    other = max(CORES, psutil.cpu_count()) + 1
    torch.set_num_threads(other)
    assert use_fastest(work).described() == f"{other} threads: set in this process"
    assert torch.get_num_threads() == other


@several
def test_torchs_own_number_is_open() -> None:
    assert given_number() is None


def test_more_threads_than_cores_are_used_and_said() -> None:
    cores = f"share {CORES} {'core' if CORES == 1 else 'cores'}"
    assert use_number(CORES, "given").because == "given"
    chosen = use_number(CORES + 14, "given")
    assert chosen.number == torch.get_num_threads() == CORES + 14
    assert chosen.because == f"given; they {cores}, which takes longer"
    assert use_number(CORES, "given", processes=2).because == f"given; those of 2 processes {cores}, which takes longer"


def test_the_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
        assert use_number(2, "given").because == "given; they share 1 core, which takes longer"
    finally:
        os.sched_setaffinity(0, before)
    assert usable_cores() == CORES


def test_measuring_restores_the_number_also_after_a_failure(clock: Clock) -> None:
    def work() -> None:
        raise RuntimeError("no memory")

    before = torch.get_num_threads()
    measured(clock.work(0.001, 0.001), [1, 3])
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="no memory"):
        measured(work, [1, 3])
    assert torch.get_num_threads() == before


def test_measuring_ends_soon_even_if_one_pass_is_long(clock: Clock) -> None:
    rates = measured(clock.work(3.0, 3.0), [1, 2])
    assert clock.now == 12.0, "one turn, of a pass to start the threads and one that counts"
    assert rates == {1: pytest.approx(1 / 3), 2: pytest.approx(1 / 3)}


def test_measuring_takes_a_fraction_of_a_second(clock: Clock) -> None:
    measured(clock.work(0.001, 0.001), [1, 2])
    assert clock.now < 0.6


def test_the_work_is_made_of_the_models_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny_model(), []
    linear = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda x, w: seen.append((x.shape, w)) or linear(x, w))
    model_work(model, rows=5)()
    parameters = {parameter.data_ptr(): name for name, parameter in model.named_parameters()}
    names = [parameters[weight.data_ptr()] for _, weight in seen]
    assert names and not any("embed" in name or "lm_head" in name for name in names)
    assert len(set(names)) == len(names) <= 8
    assert {shape[0] for shape, _ in seen} == {5}


def test_a_model_without_matrices_is_measured_by_the_standard_layer() -> None:
    class Odd(nn.Module):
        def get_input_embeddings(self) -> None: ...
        def get_output_embeddings(self) -> None: ...

    for work in (model_work(Odd(), rows=2), standard_work(rows=2), model_work(tiny_model(), rows=2, autocast=True)):
        assert work() is None

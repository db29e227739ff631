"""The number of CPU threads: measured where it is open, and left alone where it was given."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil
import pytest
import torch
from torch import nn

from r2vpo import threads
from r2vpo.threads import candidates, given_number, measured, model_work, standard_work, use_fastest
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


def waits(for_one: float, for_more: float) -> threads.Work:
    """Work that takes as long as it is told with the number of threads that torch has."""
    return lambda: time.sleep(for_one if torch.get_num_threads() == 1 else for_more)


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
def test_fewer_are_taken_where_they_are_faster() -> None:
    chosen = use_fastest(waits(0.001, 0.01))
    assert chosen.number == torch.get_num_threads() == 1
    assert set(chosen.rates) == set(candidates(CORES)) and chosen.rates[1] > 4 * chosen.rates[CORES]
    assert chosen.described().startswith("1 thread: measured, ") and f"times as fast as {CORES}" in chosen.because


@several
@pytest.mark.parametrize("for_more", [0.002, 0.011], ids=["faster", "hardly slower"])
def test_all_are_kept_where_fewer_are_not_much_faster(for_more: float) -> None:
    chosen = use_fastest(waits(0.01, for_more))
    assert chosen.number == torch.get_num_threads() == CORES
    assert chosen.because == "measured, fewer are not faster"


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


def test_measuring_restores_the_number_also_after_a_failure() -> None:
    def work() -> None:
        raise RuntimeError("no memory")

    before = torch.get_num_threads()
    measured(waits(0.001, 0.001), [1, 3])
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="no memory"):
        measured(work, [1, 3])
    assert torch.get_num_threads() == before


def test_measuring_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MOST_SECONDS", 0.1)
    started = time.perf_counter()
    rates = measured(waits(0.3, 0.3), [1, 2])
    assert 1.0 < time.perf_counter() - started < 1.8, "one turn, of two passes each"
    assert rates[1] == pytest.approx(1 / 0.3, rel=0.3)


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

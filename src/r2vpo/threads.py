"""How many CPU threads are the fastest on this machine at this moment, measured on products of a model's size.

torch takes one thread for each core. They wait for one another after every operation, so where other work keeps the
cores busy an operation takes as long as its most delayed thread, and a single thread may be many times faster
(benchmarks/threads.py).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SECONDS, TURNS, MOST_SECONDS = 0.04, 6, 2.0
"""Shortest time of one measurement, measurements of each number, and the time after which no further turn begins."""
WORTH = 1.2
"""All threads are kept unless fewer are this many times as fast, so that a quiet machine uses the same number again."""
_WEIGHTS = 8
_SIZES = ((576, 576), (1536, 576), (576, 1536))

Work = Callable[[], object]


@dataclass(frozen=True)
class Threads:
    """A number of threads, and why it was chosen.

    Attributes:
        number: the number.
        because: the reason in words.
        rates: passes per second in the slowest measurement of each number; empty if nothing was measured.
    """

    number: int
    because: str
    rates: dict[int, float]

    def described(self) -> str:
        """Return number and reason as one line."""
        return f"{self.number} {'thread' if self.number == 1 else 'threads'}: {self.because}"


def use_number(number: int, because: str, *, processes: int = 1) -> Threads:
    """Use a number of threads that is already decided; the reason says so if there are fewer cores.

    Args:
        number: the number.
        because: who decided it.
        processes: processes on this machine that use as many.
    """
    torch.set_num_threads(number)
    cores = usable_cores()
    if number * processes > cores:
        who = "they" if processes == 1 else f"those of {processes} processes"
        because += f"; {who} share {cores} {'core' if cores == 1 else 'cores'}, which takes longer"
    return Threads(number, because, {})


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def given_number() -> Threads | None:
    """Return the number that the environment or this process was given; None if it is torch's own choice."""
    number = torch.get_num_threads()
    for name in VARIABLES:
        # A value that torch does not follow (not a number, or more than there are cores) decides nothing.
        if os.environ.get(name, "").partition(",")[0].strip() == str(number):
            return Threads(number, f"{name} says so", {})
    if number not in _torch_defaults():
        return Threads(number, "set in this process", {})
    return Threads(number, "the only core", {}) if number == 1 else None


def _torch_defaults() -> set[int]:
    logical = usable_cores()
    found = {logical}
    with suppress(ImportError):
        import psutil

        found.add(min(psutil.cpu_count(logical=False) or logical, logical))
    return found


def use_fastest(work: Work) -> Threads:
    """Use the number of threads that `fastest` finds, from now on."""
    chosen = fastest(work)
    torch.set_num_threads(chosen.number)
    return chosen


def fastest(work: Work) -> Threads:
    """Find the number of threads with which some work is the fastest, or return the number that was given.

    Args:
        work: one pass of it; a fraction of what the model computes for one token.
    """
    given = given_number()
    if given is not None:
        return given
    most = torch.get_num_threads()
    rates = measured(work, candidates(most))
    best = max(rates, key=lambda number: rates[number])
    if rates[most] * WORTH >= rates[best]:
        return Threads(most, "measured, fewer are not faster", rates)
    times = f"{rates[best] / rates[most]:.1f} times as fast as {most}"
    return Threads(best, f"measured, {times}: other work keeps the cores busy, or the model is small", rates)


def candidates(most: int) -> list[int]:
    """Return 1, 2, 4 and so on up to `most`, and `most` itself."""
    return [*(1 << power for power in range((most - 1).bit_length())), most]


def measured(work: Work, numbers: Sequence[int], *, turns: int = TURNS) -> dict[int, float]:
    """Measure passes per second with each number of threads, in turns; torch's number is restored.

    Args:
        work: one pass.
        numbers: the numbers of threads.
        turns: measurements of each number.

    Returns:
        The rate in the slowest measurement of each number. Where threads compete for cores, the same number is fast
        at one moment and many times slower at the next, depending on where the system has put them.
    """
    before, started = torch.get_num_threads(), time.perf_counter()
    rates = dict.fromkeys(numbers, math.inf)
    try:
        for turn in range(turns):
            if turn and time.perf_counter() - started > MOST_SECONDS:
                break
            for number in numbers:
                torch.set_num_threads(number)
                work()  # starts the threads
                passes, begun = 0, time.perf_counter()
                while (spent := time.perf_counter() - begun) < SECONDS:
                    work()
                    passes += 1
                rates[number] = min(rates[number], passes / spent)
    finally:
        torch.set_num_threads(before)
    return rates


def model_work(model: nn.Module, *, rows: int, autocast: bool = False) -> Work:
    """Return a pass through the first weights of a model, as for one more token of each of `rows` responses.

    Args:
        model: a language model; its embeddings are left out.
        rows: responses that are generated at the same time.
        autocast: whether it computes in bfloat16 with float32 weights.
    """
    others = {id(one.weight) for one in _embeddings(model) if one is not None}
    weights = [
        parameter.detach()
        for parameter in model.parameters()
        if parameter.ndim == 2 and parameter.is_floating_point() and id(parameter) not in others
    ]
    return _products(weights[:_WEIGHTS] or _standard_weights(), rows=rows, autocast=autocast)


def standard_work(*, rows: int = 64) -> Work:
    """Return a pass through a layer of the size of SmolLM2-135M, for when there is no model."""
    return _products(_standard_weights(), rows=rows, autocast=False)


def _embeddings(model: Any) -> tuple[Any, Any]:
    return model.get_input_embeddings(), model.get_output_embeddings()


def _standard_weights() -> list[Tensor]:
    return [torch.full(size, 0.01) for size in _SIZES]


def _products(weights: Sequence[Tensor], *, rows: int, autocast: bool) -> Work:
    inputs = [torch.ones(rows, weight.shape[1], dtype=weight.dtype) for weight in weights]

    def once() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            for given, weight in zip(inputs, weights, strict=True):
                nn.functional.silu(nn.functional.linear(given, weight))

    return once

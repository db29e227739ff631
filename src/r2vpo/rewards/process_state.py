"""What a user's function may change for the whole process and training relies on, put back when it returns.

Python's and numpy's random numbers are left alone: a run draws none of them, so they are the function's own.
"""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = ("SIGALRM", "SIGCHLD", "SIGINT", "SIGPIPE", "SIGTERM")
_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


@contextmanager
def kept_signals() -> Iterator[None]:
    """Put back the handlers that training relies on, and stop a timer that is left behind."""
    handlers = {name: signal.getsignal(getattr(signal, name)) for name in _SIGNALS if hasattr(signal, name)}
    timers = [getattr(signal, name) for name in _TIMERS if hasattr(signal, name)]
    idle = [timer for timer in timers if not signal.getitimer(timer)[0]]
    try:
        yield
    finally:
        for timer in idle:
            if signal.getitimer(timer)[0]:
                signal.setitimer(timer, 0)
        # Only the main thread can set a handler; None is one that is not Python's.
        if threading.current_thread() is threading.main_thread():
            for name, handler in handlers.items():
                number = getattr(signal, name)
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


@contextmanager
def kept_errors() -> Iterator[None]:
    """Put back what makes errors of a library's warnings or of numpy's rounding, and a lowered recursion limit.

    What is ignored stays so: the function, or a library that it has imported, may count on it.
    """
    filters, found = warnings.filters, list(warnings.filters)
    numpy = sys.modules.get("numpy")
    rounding = numpy.geterr() if numpy else {}
    depth = sys.getrecursionlimit()
    try:
        yield
    finally:
        if sys.getrecursionlimit() < depth:
            sys.setrecursionlimit(depth)
        now = list(warnings.filters)
        kept = [one for one in now if one not in found and one[0] != "error"] + found
        if now != kept:
            warnings.filters = filters
            warnings.resetwarnings()  # so that warnings are looked up again; then all the filters at once
            warnings.filters[:] = kept  # type: ignore[index]
        if numpy:
            strict = {kind for kind, what in numpy.geterr().items() if what in ("raise", "call")}
            numpy.seterr(**{kind: rounding[kind] for kind in strict})


@contextmanager
def kept_torch() -> Iterator[None]:
    """Put back torch's modes, default type and device, autocast, threads and checks, and its random stream."""
    import torch  # not at the top: `r2vpo rewards check` reads its input first

    settings = _settings()
    found = [read() for read, _ in settings]
    grad = torch.is_grad_enabled()
    with torch.inference_mode(torch.is_inference_mode_enabled()), torch.set_grad_enabled(grad), _kept_stream():
        try:
            yield
        finally:
            for (read, write), value in zip(settings, found, strict=True):
                if read() != value:
                    write(value)


def _settings() -> list[tuple[Callable[[], Any], Callable[[Any], object]]]:
    """What reads each of torch's settings, and what writes it."""
    import torch

    def autocast(kind: str) -> tuple[Callable[[], Any], Callable[[Any], object]]:
        def write(value: tuple[bool, torch.dtype]) -> None:
            torch.set_autocast_enabled(kind, value[0])
            torch.set_autocast_dtype(kind, value[1])

        return lambda: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)), write

    def set_cudnn(value: tuple[bool, bool]) -> None:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = value

    settings: list[tuple[Callable[[], Any], Callable[[Any], object]]] = [
        (torch.get_default_dtype, torch.set_default_dtype),
        (
            torch.get_default_device,
            _set_default_device,
        ),
        autocast("cpu"),
        autocast("cuda"),
        (torch.get_num_threads, torch.set_num_threads),
        (
            lambda: (
                torch.are_deterministic_algorithms_enabled(),
                torch.is_deterministic_algorithms_warn_only_enabled(),
            ),
            lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
        ),
        (
            lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
            lambda value: torch.autograd.set_detect_anomaly(*value),
        ),
        (lambda: (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark), set_cudnn),
    ]
    if torch.cuda.is_initialized():
        settings.append((torch.cuda.current_device, torch.cuda.set_device))
    return settings


def _set_default_device(device: Any) -> None:
    import torch

    torch.set_default_device(None if device.type == "cpu" else device)
    try:
        torch.get_default_device()
    except AttributeError:  # torch 2.8 cannot say that it is None
        torch.set_default_device(device)


@contextmanager
def _kept_stream() -> Iterator[None]:
    """Undo a new seed of torch's random numbers; what the function draws without one counts on.

    TRL's sampler and models that draw in evaluation would draw the same in every round. A seed is noticed by another
    one in the first eight bytes of the state while the function runs: it may set the run's own.
    """
    import torch

    state = torch.get_rng_state()
    marked = state.clone()
    marked[:8] += 53
    torch.set_rng_state(marked)
    mark = torch.initial_seed()
    on_device = None
    if torch.cuda.is_initialized():
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        on_device = generator, generator.get_state(), generator.initial_seed(), generator.get_offset()
    try:
        yield
    finally:
        if torch.initial_seed() == mark:
            now = torch.get_rng_state()
            now[:8] = state[:8]
            state = now
        torch.set_rng_state(state)
        if on_device is not None:
            generator, before, seed, offset = on_device
            if generator.initial_seed() != seed or generator.get_offset() < offset:
                generator.set_state(before)

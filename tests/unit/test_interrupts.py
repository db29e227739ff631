"""Ctrl-C and SIGTERM wait where they would leave something half done, and are not lost."""

from __future__ import annotations

import signal
import threading

import pytest

from r2vpo.interrupts import held_interrupts

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    pass


@pytest.fixture(autouse=True)
def handlers() -> object:
    """Both signals raise, as in `r2vpo`; a test must leave these handlers as they were."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    before = [signal.signal(number, stop) for number in NUMBERS]
    yield
    found = [signal.signal(number, handler) for number, handler in zip(NUMBERS, before, strict=True)]
    assert found == [stop, stop]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_arrives_when_the_block_has_ended(number: int) -> None:
    done = []
    with pytest.raises(Stopped, match=f"^{number}$"), held_interrupts():
        signal.raise_signal(number)
        done.append(1)
    assert done == [1]


def test_what_is_done_after_an_interrupt_is_not_interrupted() -> None:
    done = []
    with pytest.raises(Stopped), held_interrupts() as interrupts:
        try:
            with interrupts.let_through():
                signal.raise_signal(signal.SIGINT)
                done.append("not reached")
        finally:
            signal.raise_signal(signal.SIGINT)
            done.append("cleaned up")
    assert done == ["cleaned up"]


def test_a_signal_that_was_kept_arrives_where_signals_are_let_through() -> None:
    done = []
    with pytest.raises(Stopped), held_interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        done.append("held")
        with interrupts.let_through():
            done.append("not reached")
    assert done == ["held"]


def test_a_handler_that_puts_a_signal_off_gets_the_next_one_too() -> None:
    calls = []
    signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    with held_interrupts() as interrupts, interrupts.let_through():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert len(calls) == 2
    with held_interrupts(), held_interrupts() as inner, inner.let_through():
        signal.raise_signal(signal.SIGINT)
        assert len(calls) == 2, "the outer block holds it"
    assert len(calls) == 3
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))


def test_ignored_signals_and_other_threads_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with held_interrupts():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    found = []

    def work() -> None:
        with held_interrupts() as interrupts, interrupts.let_through():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]

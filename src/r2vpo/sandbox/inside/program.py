"""The program's process: it runs what a model wrote, and does what the test process requests."""

from __future__ import annotations

import atexit
import sys
import threading
import types
from typing import Any

from .peer import Peer
from .values import decode, encode

OUT_OF_MEMORY = 71


def run(job: dict[str, Any]) -> int:
    """Run a job's `setup`, and the first of its `programs` that compiles as a script on standard input and output.

    Returns:
        The exit status: 0, the program's own exit code, 1 after an exception, or 71 if memory ran out.
    """
    # A program may use either name of a stream; typeshed calls the second one final.
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[misc]
    status = _status(lambda: _execute("__main__", job))
    # Some programs work in threads, or print on exit. typeshed lacks the function that waits for threads.
    for last in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush):  # type: ignore[attr-defined]
        status = _status(last) or status
    return status


def serve(channel: int, job: dict[str, Any]) -> None:
    """Run a job as `run` does, but as a module, then serve requests from the test process until that ends."""
    server = _Server(channel)
    try:
        server.names = _execute("answer", job)
    except BaseException as error:  # it may raise anything; a request for its names reports this
        server.failure = error
    server.peer.serve()


def _execute(name: str, job: dict[str, Any]) -> dict[str, Any]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(_compiled(job["setup"], "setup"), vars(module))
    *others, last = job["programs"]
    for program in others:
        try:
            code = _compiled(program, "program")
            break
        except (SyntaxError, ValueError):
            continue
    else:
        code = _compiled(last, "program")
    exec(code, vars(module))
    return vars(module)


def _compiled(text: str, name: str) -> types.CodeType:
    # Compiled as written: without `dont_inherit` it would inherit this module's `annotations` from `__future__`.
    return compile(text, name, "exec", dont_inherit=True)


def _status(function: Any) -> int:
    try:
        function()
    except SystemExit as error:
        return 0 if error.code is None else error.code & 255 if isinstance(error.code, int) else 1
    except MemoryError:
        return OUT_OF_MEMORY
    except BaseException:  # a program may raise anything
        return 1
    return 0


def _of(name: str) -> Any:
    return lambda value, *rest: getattr(type(value), name)(value, *rest)


_DEEDS: dict[str, Any] = {
    "call": lambda function, *args, **kwargs: function(*args, **kwargs),
    "attribute": getattr,
    "set": setattr,
    "iterate": iter,
    "next": next,
    "length": len,
    "item": _of("__getitem__"),
    "set_item": _of("__setitem__"),
    "text": str,
    "shown": repr,
}


class _Server:
    def __init__(self, channel: int) -> None:
        self.names: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.peer = Peer(channel, self._act, self._tell)
        self._shared: set[str] = set()
        self._held: list[Any] = []
        self._places: dict[int, int] = {}

    def _act(self, request: Any) -> Any:
        deed, target, args, kwargs = request
        if self.failure is not None:
            raise self.failure
        if deed == "name":
            return [encode(self.names[target], self._hold), None]
        if deed == "share":
            self._shared = set(target)
            return None
        given = [decode(value, self._fetch) for value in args]
        named = {name: decode(value, self._fetch) for name, value in kwargs.items()}
        value = encode(_DEEDS[deed](self._held[target], *given, **named), self._hold)
        # The tests may look at their arguments again: a sort in place has to be visible to them.
        after = [encode(value, self._hold) for value in given]
        return [value, after if after != args else None]

    def _hold(self, value: Any) -> list[Any]:
        name = type(value).__name__
        if name in self._shared and self.names.get(name) is type(value):
            return ["record", name, {key: encode(part, self._hold) for key, part in vars(value).items()}]
        if id(value) not in self._places:
            self._places[id(value)] = len(self._held)
            self._held.append(value)
        return ["handle", self._places[id(value)]]

    def _fetch(self, data: list[Any]) -> Any:
        kind, what, *rest = data
        if kind == "handle":
            return self._held[what]
        if kind == "iterator":
            return iter([decode(part, self._fetch) for part in what])
        if kind == "record":
            value = object.__new__(self.names[what])
            vars(value).update({name: decode(part, self._fetch) for name, part in rest[0].items()})
            return value
        return self._callback(what)

    def _callback(self, number: int) -> Any:
        def callback(*args: Any, **kwargs: Any) -> Any:
            sent = [encode(value, self._hold) for value in args]
            named = {name: encode(value, self._hold) for name, value in kwargs.items()}
            fine, body = self.peer.ask([number, sent, named])
            if not fine:
                raise RuntimeError(str(body))
            return decode(body, self._fetch)

        return callback

    def _tell(self, error: BaseException) -> list[Any]:
        return [[kind.__name__ for kind in type(error).__mro__], str(error)[:1000]]

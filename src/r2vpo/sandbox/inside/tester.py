"""The test process: it runs one test, in which the program's names refer to objects in another process.

The program never shares a process with the code that judges it. Its values are transferred as plain data; its own
objects stay in its process and are represented here by a `Remote`, which does not use the program's `==`.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import importlib
import sys
import types
from typing import Any

from .peer import Peer
from .values import Gone, decode, encode, update


def judge(channel: int, job: dict[str, Any]) -> dict[str, Any]:
    """Run one test.

    Args:
        channel: the socket to the program's process.
        job: `setup`, `given` (what precedes the program's own text), `test`, `entry_point` and `solution`.

    Returns:
        `passed`: whether the test ran to its end; `fault`: what is wrong with the test itself, or None; `raised`: the
        name of the exception that the test raised, or None.
    """
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    names = vars(module)
    try:
        # Compiled as written, without this module's `annotations` from `__future__`.
        setup, given, code = (
            compile(job[part], part, "exec", dont_inherit=True) for part in ("setup", "given", "test")
        )
        exec(setup, names)
        exec(given, names)
    except BaseException as error:  # a test may raise anything
        return {"passed": False, "fault": f"{type(error).__name__}: {error}"[:300], "raised": None}
    link = _Link(channel, names)
    raised = None
    try:
        link.share()
        wanted = _used(code) - set(vars(builtins)) - set(names)
        own = _defined(job["solution"]) & _used(code) | {job["entry_point"]} - {""}
        for name in sorted(wanted - own):
            if name not in sys.stdlib_module_names:
                link.name(name)
                continue
            # Never the program's own, which may have replaced it by something else.
            with contextlib.suppress(ImportError):
                names[name] = importlib.import_module(name)
        for name in sorted(own):
            link.name(name)
        exec(code, names)
    except SystemExit as error:  # unittest.main() exits this way
        raised = "SystemExit" if error.code else None
    except BaseException as error:  # a test may raise anything
        raised = type(error).__name__
    passed = raised is None and not link.peer.broken
    return {"passed": passed, "fault": None if passed else link.fault, "raised": raised}


def _used(code: types.CodeType) -> set[str]:
    """Return the names that a test takes from its environment; attribute names are not among them."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    taken = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    return taken.union(*map(_used, inner))


def _defined(solution: str) -> set[str]:
    """Return the names that a solution defines; among them, the name of a builtin means the program's function."""
    try:
        body = ast.parse(solution).body
    except (SyntaxError, ValueError):
        return set()
    return {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}


class _Link:
    def __init__(self, channel: int, names: dict[str, Any]) -> None:
        self.peer = Peer(channel, self._call_back, lambda error: f"{type(error).__name__}: {error}"[:1000])
        self.fault: str | None = None
        self._names = names
        self._classes = {
            name: value for name, value in names.items() if isinstance(value, type) and value.__module__ == "__main__"
        }
        self._remotes: dict[int, Remote] = {}
        self._callbacks: list[Any] = []

    def share(self) -> None:
        """Tell the other side which classes have their instances sent by value."""
        self.peer.ask(["share", list(self._classes), [], {}])

    def name(self, name: str) -> None:
        """Fetch a name from the program, if the program has it."""
        fine, body = self.peer.ask(["name", name, [], {}])
        if fine:
            self._names[name] = self._value(body[0])
        elif body[0][0] != "KeyError":  # the program did not run
            self._raise(body)

    def do(self, deed: str, target: int, *args: Any, **kwargs: Any) -> Any:
        """Have the other side do something with one of its objects."""
        sent = [encode(value, self._hold) for value in args]
        named = {name: encode(value, self._hold) for name, value in kwargs.items()}
        fine, body = self.peer.ask([deed, target, sent, named])
        if not fine:
            # Raised from a function, StopIteration would end the caller's loop, as if there were nothing more to test.
            self._raise(body, hidden="" if deed == "next" else "StopIteration")
        value, after = body
        for old, new in zip(args, after or [], strict=False):
            if isinstance(old, (list, dict, set, bytearray)) or type(old).__name__ in ("deque", *self._classes):
                update(old, self._value(new))
        return self._value(value)

    def _value(self, data: Any) -> Any:
        try:
            return decode(data, self._fetch)
        except Gone:
            self.peer.broken = True
            raise

    def _raise(self, body: Any, hidden: str = "") -> None:
        kinds, text = body
        for kind in kinds if hidden not in kinds else ():
            known = self._classes.get(kind, getattr(builtins, kind, None))
            if isinstance(known, type) and issubclass(known, Exception):
                try:
                    error = known(text)
                except Exception:  # it takes other arguments
                    break
                raise error
        raise RemoteError(f"{kinds[0]}: {text}")

    def _hold(self, value: Any) -> list[Any]:
        if isinstance(value, Remote):
            return ["handle", object.__getattribute__(value, "_number")]
        if self._classes.get(type(value).__name__) is type(value) and hasattr(value, "__dict__"):
            fields = {name: encode(part, self._hold) for name, part in vars(value).items()}
            return ["record", type(value).__name__, fields]
        if callable(value):
            self._callbacks.append(value)
            return ["callback", len(self._callbacks) - 1]
        if hasattr(value, "__iter__") and not hasattr(value, "read"):
            return ["iterator", [encode(part, self._hold) for part in value]]
        self.fault = f"a test hands over a {type(value).__name__}, which cannot leave its process"
        raise TypeError(self.fault)

    def _fetch(self, data: list[Any]) -> Any:
        try:
            kind, what, *rest = data
            if kind == "handle" and type(what) is int:
                return self._remotes.setdefault(what, Remote(self, what))
            if kind == "record":
                known = self._classes[what]
                value: object = object.__new__(known)
                # A field must not replace a method.
                fields = {name: part for name, part in rest[0].items() if not callable(getattr(known, name, None))}
                vars(value).update({name: self._value(part) for name, part in fields.items()})
                return value
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise Gone(f"no value: {error}") from None
        raise Gone("no value")

    def _call_back(self, request: Any) -> Any:
        number, args, kwargs = request
        function = self._callbacks[number]
        given = {name: self._value(value) for name, value in kwargs.items()}
        return encode(function(*[self._value(value) for value in args], **given), self._hold)


class RemoteError(Exception):
    """Raised for an exception of the program whose class is unknown here."""


class Remote:
    """An object of the program. It is equal only to itself, whatever the program says."""

    def __init__(self, link: _Link, number: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", number)

    def _do(self, deed: str, *args: Any, **kwargs: Any) -> Any:
        return self._link.do(deed, self._number, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object in the program's process."""
        return self._do("call", *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # Libraries look up such names to find out how to read an object; numpy looks for the address of its data.
        if name.startswith("__") and name not in ("__name__", "__doc__", "__dict__"):
            raise AttributeError(name)
        return self._do("attribute", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._do("set", name, value)

    def __iter__(self) -> Any:
        iterator = self._do("iterate")
        # A list's iterator is not a list; the program's iterator is also a Remote.
        return iterator if isinstance(iterator, Remote) else iter(iterator)

    def __next__(self) -> Any:
        return self._do("next")

    def __len__(self) -> Any:
        return self._do("length")

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> Any:
        return self._do("item", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do("set_item", key, value)

    def __str__(self) -> Any:
        return self._do("text")

    def __repr__(self) -> Any:
        return self._do("shown")

"""Transfer of values between the test process and the program's process: plain data, by value, as JSON.

Plain data arrive as exactly the named type, built by the receiver: a subclass of `int` with its own `==` arrives as
`int`. Anything else stays where it is, and the other side gets a handle to it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
_TEXTS: dict[str, Any] = {"float": float, "complex": complex, "Decimal": Decimal, "Fraction": Fraction}

Hold = Callable[[Any], list[Any]]
Fetch = Callable[[list[Any]], Any]


class Gone(Exception):
    """Raised if the other side has ended, or has sent something that is not a message."""


def encode(value: Any, hold: Hold) -> Any:
    """Turn a value into JSON types; `hold` makes an entry for a value that is not plain."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        number = int.__index__(value)
        return number if -(2**53) < number < 2**53 else ["int", hex(number)]
    if isinstance(value, (float, complex, Decimal, Fraction)):
        kind = next(name for name, cls in _TEXTS.items() if isinstance(value, cls))
        return [kind, _TEXTS[kind].__repr__(value) if kind in ("float", "complex") else _TEXTS[kind].__str__(value)]
    if isinstance(value, (bytes, bytearray)):
        return ["bytearray" if isinstance(value, bytearray) else "bytes", bytes(value).hex()]
    if isinstance(value, range):
        return ["range", [encode(part, hold) for part in (value.start, value.stop, value.step)]]
    if isinstance(value, dict):
        return ["dict", [[encode(key, hold), encode(dict.__getitem__(value, key), hold)] for key in dict.keys(value)]]
    for kind, cls in _SEQUENCES.items():
        if isinstance(value, cls):
            return [kind, [encode(part, hold) for part in cls.__iter__(value)]]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return encode(value.tolist(), hold)
    return hold(value)


def decode(data: Any, fetch: Fetch) -> Any:
    """Turn JSON types into a value.

    Args:
        data: the result of `encode`, or data from a program that claims to be one.
        fetch: function that turns an entry of `hold` into a value.

    Raises:
        Gone: the data are not a result of `encode`.
    """
    if not isinstance(data, list):
        if isinstance(data, (str, int)) or data is None:
            return data
        raise Gone(f"no value: {type(data).__name__}")
    try:
        kind, inner = data[0], data[1]
        if kind in _SEQUENCES:
            return _SEQUENCES[kind]([decode(part, fetch) for part in inner])
        if kind in _TEXTS:
            return _TEXTS[kind](inner)
        if kind == "int":
            return int(inner, 16)
        if kind in ("bytes", "bytearray"):
            return (bytes if kind == "bytes" else bytearray).fromhex(inner)
        if kind == "range":
            return range(*[decode(part, fetch) for part in inner])
        if kind == "dict":
            return {decode(key, fetch): decode(part, fetch) for key, part in inner}
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise Gone(f"no value: {error}") from None
    return fetch(data)


def update(old: Any, new: Any) -> None:
    """Give a container the content of another one of the same type; other values do not change."""
    if type(old) is not type(new):
        return
    if isinstance(old, (list, bytearray)):
        old[:] = new
    elif isinstance(old, (dict, set, deque, Counter, OrderedDict, defaultdict)):
        old.clear()
        (old.extend if isinstance(old, deque) else old.update)(new)
    elif hasattr(old, "__dict__") and not callable(old):
        vars(old).update(vars(new))

"""Declaration of options: each once, with its default, bounds and help text; everything else is read from it.

A section is a frozen dataclass of `option` fields, derived from `Options`. Recipes, `R2VPOConfig` and the integrations
hold sections directly; `docs/reference` is generated from them.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import operator
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, Self

from r2vpo.core.nearest import did_you_mean

LARGEST, LARGEST_WHOLE = 3.4e38, 10**12
"""The largest number and the largest whole number that are accepted. The first is the limit of float32."""

BOUNDS = {"above": "above", "at_least": "at least", "below": "below", "at_most": "at most"}
"""The bounds that an option can have, as error messages word them."""


def option(
    default: Any,
    help: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    study: bool = False,
) -> Any:
    """Declare an option as a field of a section.

    Args:
        default: its value when it is left out. A mapping or a list is copied.
        help: what it does, in a few words, with units if it has any.
        above: exclusive lower bound of a number.
        at_least: inclusive lower bound.
        below: exclusive upper bound.
        at_most: inclusive upper bound.
        study: whether only studies need it, such as one that selects another method to compare with; the reference
            lists such options separately.
    """
    bounds = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    metadata = {"help": help, "study": study, **{name: bound for name, bound in bounds.items() if bound is not None}}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def key_of(field: dataclasses.Field[Any]) -> str:
    """Return the key of an option: the field's name, without the underscore that follows a keyword of Python."""
    return field.name.removesuffix("_")


def same_as(section: type[Options], name: str, default: Any) -> Any:
    """Declare an option of another section again, with a different default.

    Args:
        section: the section that declares it.
        name: its name there.
        default: its value when it is left out.
    """
    (declared,) = (field for field in dataclasses.fields(section) if field.name == name)
    return dataclasses.field(default=default, metadata=declared.metadata)


class UnknownOption(ValueError):
    """A section does not have an option.

    Args:
        key: its dotted key.
        known: the names that the section has.
    """

    def __init__(self, key: str, known: Sequence[str]) -> None:
        above, dot, last = key.rpartition(".")
        hint = did_you_mean(last, known, f": choose one of {', '.join(known)}", show=lambda name: above + dot + name)
        # The message is the only argument, because Hydra shows an error by its arguments.
        super().__init__(f"unknown key {key}{hint}")
        self.key, self.known = key, known

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.known)  # so that a worker's error can be sent to another process


@dataclasses.dataclass(frozen=True)
class Options:
    """A section of options, immutable, whose values are checked when it is built.

    A nested section may be given in any form that `of` accepts.

    Raises:
        ValueError: a value has the wrong type, is not among the choices or is out of bounds, or two options contradict
            each other; the message begins with the option's name and says what the value must be.
    """

    # Pydantic reads sections from recipes by these rules: no unknown keys, and no text in place of a number.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
        "serialize_by_alias": True,
    }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = handler(source)
        whole = handler.resolve_ref_schema(schema)
        whole["strict"] = False  # the section itself may be given as a mapping
        keys = {field.name: key_of(field) for field in dataclasses.fields(cls)}
        for field in whole["schema"]["fields"]:
            if keys[field["name"]] != field["name"]:
                field["validation_alias"] = field["serialization_alias"] = keys[field["name"]]
        read = {"type": "no-info", "function": lambda value: None if value is None else cls.given(value)}
        return {"type": "function-before", "function": read, "schema": schema}

    def __post_init__(self) -> None:
        hints = self._hints()
        for field in dataclasses.fields(self):
            value, section = getattr(self, field.name), _section(hints[field.name])
            if section is not None and value is not None and not isinstance(value, section):
                object.__setattr__(self, field.name, section.of(value, key_of(field)))
                continue
            problem = _problem(value, hints[field.name], field.metadata)
            if problem:
                raise ValueError(f"{key_of(field)} {problem}")
        self.check()

    def check(self) -> None:
        """Reject options that contradict each other.

        Raises:
            ValueError: two options contradict each other.
        """

    @classmethod
    @cache
    def _hints(cls) -> dict[str, Any]:
        return typing.get_type_hints(cls)

    @classmethod
    def given(cls, value: Any) -> Any:
        """Return what is written for a section as the section or a mapping.

        One value is that of its first option, and a text is a list of one where a list is expected.
        """
        if isinstance(value, cls):
            return value
        fields, hints = dataclasses.fields(cls), cls._hints()
        written = value or {} if value is None or isinstance(value, Mapping) else {key_of(fields[0]): value}
        lists = {key_of(field) for field in fields if typing.get_origin(hints[field.name]) is list}
        return {key: [one] if key in lists and isinstance(one, str) else one for key, one in written.items()}

    @classmethod
    def of(cls, value: Any, name: str) -> Self:
        """Read a section as written in Python.

        Args:
            value: the section, a mapping of its options, only the value of its first option, or None for its defaults.
            name: the section's name, for error messages; empty if it has none.

        Raises:
            UnknownOption: the section does not have an option; the message names the nearest.
            ValueError: a value is rejected.
        """
        if isinstance(value, cls):
            return value
        names, given = {key_of(field): field.name for field in dataclasses.fields(cls)}, cls.given(value)
        for key in given:
            if key not in names:
                raise UnknownOption(f"{name}.{key}".lstrip("."), list(names))
        try:
            return cls(**{names[key]: option for key, option in given.items()})
        except UnknownOption as error:
            raise UnknownOption(f"{name}.{error.key}".lstrip("."), error.known) from None
        except ValueError as error:
            hints = cls._hints() if isinstance(value, str) else {}
            others = [other for other, hint in hints.items() if value in choices(hint)]
            hint = f': write {{"{others[0]}": "{value}"}}' if others else ""
            raise ValueError(f"{name}.{error}{hint}".lstrip(".")) from None


def _section(hint: Any) -> type[Options] | None:
    """Return the section class that an option holds, or None."""
    return next((part for part in _parts(hint) if isinstance(part, type) and issubclass(part, Options)), None)


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def choices(hint: Any) -> tuple[str, ...]:
    """Return the texts that the type of an option allows; empty if it allows any."""
    return tuple(one for part in _parts(hint) if typing.get_origin(part) is Literal for one in typing.get_args(part))


def _problem(value: Any, hint: Any, metadata: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a value, or return None."""
    parts = _parts(hint)
    if value is None and type(None) in parts:
        return None
    if allowed := choices(hint):
        return None if value in allowed else f"is {_shown(value)}; choose one of {', '.join(allowed)}"
    kinds = [typing.get_origin(part) or part for part in parts if part is not type(None)]
    if not any(_is_a(value, kind) for kind in kinds):
        return f"is {_shown(value)}; it must be {' or '.join(_WORDS.get(kind, 'a mapping') for kind in kinds)}"
    return _out_of_bounds(value, metadata) if isinstance(value, int | float) and bool not in kinds else None


def _shown(value: Any) -> str:
    """Return a value as it is written, cut off where it is long."""
    too_long = isinstance(value, int) and abs(value) >= 1e300
    return "a number of 300 digits or more" if too_long else reprlib.repr(value)


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list of texts"}


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _out_of_bounds(value: float, metadata: Mapping[str, Any]) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {value}; it must be a finite number"
    largest = LARGEST if isinstance(value, float) else LARGEST_WHOLE
    bounds = {name: metadata[name] for name in _HOLDS if name in metadata}
    if abs(value) > largest:
        bounds.setdefault("at_most", largest)
    for name, bound in bounds.items():
        if not _HOLDS[name](value, bound):
            # A whole number can be too long for a float, and for being written out.
            shown = f"{value:g}" if abs(value) < 1e300 else "a number of 300 digits or more"
            return f"is {shown}; it must be {BOUNDS[name]} {bound:g}"
    return None


_HOLDS = {"above": operator.gt, "at_least": operator.ge, "below": operator.lt, "at_most": operator.le}

"""The keys of a section, and the one that a user most likely meant by an unknown one."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from r2vpo.core.declaration import Options, key_of
from r2vpo.core.nearest import nearest

# names that other libraries use for these settings
_OTHER_NAMES = {
    "lr": "trainer.learning_rate",
    "steps": "trainer.max_steps",
    "num_generations": "rollout.samples_per_prompt",
    "group_size": "rollout.samples_per_prompt",
    "max_completion_length": "rollout.max_new_tokens",
    "max_tokens": "rollout.max_new_tokens",
    "gradient_accumulation_steps": "trainer.micro_batches",
    "lr_scheduler_type": "trainer.lr_scheduler",
    "epsilon": "objective.options.clip_low",
    "epsilon_high": "objective.options.clip_high",
    "clip_low": "objective.options.clip_low",
    "clip_high": "objective.options.clip_high",
    "dual_clip": "objective.options.dual_clip",
    "lambda": "dual.value",
    "delta": "objective.delta",  # which is of more recipes than dpo.delta
    "loss_type": "objective.aggregation",
}


def known_keys(section: Any, source: str | None = None, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys of a section, sections included; only of one data source if it is given."""
    for name, annotation in _keys(section).items():
        key = f"{prefix}{name}"
        yield key
        for inner in _sections(annotation):
            tags = typing.get_args(_keys(inner).get("source"))
            if source is None or not tags or source in tags:
                yield from known_keys(inner, source, f"{key}.")


def key_choices(section: Any, prefix: str = "") -> dict[str, tuple[str, ...]]:
    """Return what each key that holds no section can be set to, as far as its type lists the values.

    The first item of a list stands for all, as in ``data.mixture.0.family``.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, annotation in _keys(section).items():
        key = f"{prefix}{name}"
        sections = list(_sections(annotation))
        if not sections:
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *_choices(annotation))))
        for inner in sections:
            inside = key_choices(inner, f"{key}.0." if _is_list(annotation) else f"{key}.")
            found |= {one: tuple(dict.fromkeys((*found.get(one, ()), *values))) for one, values in inside.items()}
    return found


def without_items(key: str) -> str:
    """Return a dotted key without the numbers of list items, which have no names: ``data.mixture.family``."""
    return ".".join(part for part in key.split(".") if not part.isdecimal())


def unknown_key(key: str, section: Any, source: str | None = None) -> str:
    """Return what is wrong with an unknown key, and the key that was probably meant.

    Args:
        key: the dotted key.
        section: the pydantic model or the `Options` that does not have it.
        source: the data source of the settings, whose keys alone are suggested.
    """
    named = without_items(key)
    if named in set(known_keys(section)):
        return f"{key} is not used with data.source = {source}: remove it"
    known = list(dict.fromkeys(known_keys(section, source)))
    close, parent = _nearest(named, known), named.rpartition(".")[0]
    if not close:
        beside = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
        return f"unknown key {key}: remove it" + (f", or choose one of {', '.join(beside)}" if beside else "")
    above, _, last = close.rpartition(".")
    if above and above == parent:
        close = f"{key.rpartition('.')[0]}.{last}"
    return f"unknown key {key}; did you mean {close}?"


def _nearest(key: str, known: Sequence[str]) -> str | None:
    """Return the key that a user most likely meant: the same word elsewhere, then the nearest word, siblings first."""
    parent, _, last = key.rpartition(".")
    other = _OTHER_NAMES.get(last)
    # Options of an objective are declared next to its loss, and so are not among the section's keys.
    if other is not None and (other in known or other.rpartition(".")[0] in known):
        return other
    known = [name for name in known if not key.startswith(f"{name}.")]
    same_word = [name for name in known if name.rpartition(".")[2] == last]
    if same_word:
        return nearest(key, same_word) or same_word[0]
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    for names in (siblings, known):
        words = {name.rpartition(".")[2]: name for name in reversed(names)}
        if close := nearest(last, words):
            return words[close]
    return None


def _keys(section: Any) -> dict[str, Any]:
    """Return the types of a section's keys, by name."""
    if issubclass(section, BaseModel):
        return {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    hints = typing.get_type_hints(section)
    return {key_of(field): hints[field.name] for field in dataclasses.fields(section)}


def _choices(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    if typing.get_origin(annotation) is typing.Literal:
        yield from map(str, typing.get_args(annotation))
        return
    for inner in typing.get_args(annotation):
        yield from _choices(inner)


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is list or any(map(_is_list, typing.get_args(annotation)))


def _sections(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel | Options):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _sections(inner)

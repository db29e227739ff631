"""Settings by their dotted keys."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.config.overrides import MISSING, flatten, get_key, override, remove_key, set_key
from r2vpo.config.yaml_files import parse_yaml
from r2vpo.errors import UserError


def settings() -> dict[str, Any]:
    return {"seed": 0, "lora": None, "mixture": [{"weight": 1.0}, {"weight": 2.0}], "stop": [], "name": "a" * 200}


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=7", "seed", 7),
        (" seed =1e-5", "seed", 1e-5),
        ("name=a=b", "name", "a=b"),
        ("lora.r=4", "lora", {"r": 4}),
        ("new.section.key=", "new", {"section": {"key": None}}),
        ("mixture.1.weight=3", "mixture", [{"weight": 1.0}, {"weight": 3}]),
        ("mixture.0=x", "mixture", ["x", {"weight": 2.0}]),
        ("stop=[a, b]", "stop", ["a", "b"]),
    ],
)
def test_an_override(text: str, key: str, value: Any) -> None:
    changed = settings()
    assert override(changed, text) == text.partition("=")[0].strip()
    assert changed == settings() | {key: value}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("seed.x", "here: seed.x: seed is 0 and has no keys: correct the key"),
        ("seed.x.y", "here: seed.x.y: seed is 0 and has no keys"),
        ("mixture.0.weight.x", "here: mixture.0.weight.x: mixture.0.weight is 1.0 and has no keys"),
        ("mixture.2.weight", "here: mixture.2.weight: '2' is not an item of the list mixture: give a number from 0 to"),
        ("mixture.x", "here: mixture.x: 'x' is not an item of the list mixture: give a number from 0 to 1"),
        (f"mixture.{'9' * 5000}", "here: mixture.9"),
        ("stop.0", "here: stop.0: '0' is not an item of the list stop: it is empty, so set stop as a whole"),
    ],
)
def test_a_key_that_cannot_be_set(key: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        set_key(settings(), key, 1, where="here")
    assert str(error.value).startswith(said)


def test_a_long_value_is_cut_off() -> None:
    with pytest.raises(UserError) as error:
        set_key(settings(), "name.more", 1, where="here")
    assert len(str(error.value)) < 200


def test_a_section_that_two_keys_share_changes_only_where_it_is_set() -> None:
    shared = parse_yaml("first: &two {most: 2, inner: {a: 1}}\nitems: [*two, *two]")
    override(shared, "items.0.most=5")
    override(shared, "items.1.inner.a=7")
    override(shared, "first.inner.b=3")
    assert shared["items"] == [{"most": 5, "inner": {"a": 1}}, {"most": 2, "inner": {"a": 7}}]
    assert shared["first"] == {"most": 2, "inner": {"a": 1, "b": 3}}
    value = {"options": {}}
    set_key(shared, "last", value, where="here")
    set_key(shared, "last.options.a", 1, where="here")
    assert value == {"options": {}}, "a value that was set is not changed by a later key"


def test_reading_and_removing() -> None:
    changed = settings() | {"inner": {"a": 1, "b": None}}
    assert get_key(changed, "inner.a") == 1 and get_key(changed, "inner.b") is None
    assert get_key(changed, "mixture.1.weight") == 2.0 and get_key(changed, "mixture.0") == {"weight": 1.0}
    for key in ("inner.c", "inner.a.x", "zebra", "mixture.2", "mixture.x", "mixture.-1", f"mixture.{'9' * 5000}"):
        assert get_key(changed, key) is MISSING
    for key in ("inner.a", "inner.c", "zebra.x", "seed", "seed", "mixture.0"):
        remove_key(changed, key)
    assert changed["inner"] == {"b": None} and "seed" not in changed and len(changed["mixture"]) == 2


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": []}, "d": [{"e": 2}], "f": {}}) == {"a.b": 1, "a.c": [], "d.0.e": 2, "f": {}}

"""Which stored prompts ask what a run is evaluated on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from r2vpo.store import RolloutStore, writing
from r2vpo.store.apart import asks_one_of, groups_that_ask
from tests.unit.store.filled import fill, sampled

CHAT = [{"role": "system", "content": "Add."}, {"role": "user", "content": "7 + 5 ="}]
SHOWN = [{"role": "user", "content": "1 + 1 ="}, {"role": "assistant", "content": "2"}]


@pytest.mark.parametrize(
    ("prompt", "asks"),
    [
        ("7 + 5 =", True),
        (" 7 +  5 =\r\n", True),
        ("q: TWO\n\n lines \nA:", True),
        ("Add.\n7 + 5 =\nShow your work.", True),
        ("user\n7 + 5 =\nassistant\n", True),
        ("7 + 5 = 1", False),
        ("17 + 5 =", False),
        ("Q: two\nother\nlines\nA:", False),
        ("1 + 1 = 2\n7 + 5 =", True),
        ("Q: two\nlines\nA:", True),
        ("Q: others\nlines\nA:", False),
        ("3 + 7 + 5 =", False),
        ("7 + 5 = 12\n7 + 6 =", False),
        ("", False),
        (None, False),
        (CHAT, True),
        ([*CHAT[:1], *SHOWN, CHAT[1]], True),
        ([*CHAT, *SHOWN], False),
        ([{"role": "system", "content": "7 + 5 ="}], False),
    ],
)
def test_solved_examples_make_no_difference(prompt: Any, asks: bool) -> None:
    assert asks_one_of(["7 + 5 =", "Q: two\nlines\nA:"])(prompt) is asks
    assert asks_one_of([CHAT, "Q: two\nlines\nA:"])(prompt) is asks


def test_only_what_a_run_sees(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", versions=2, groups=3)
    with store.reading() as connection:
        found = groups_that_ask(connection, asks_one_of(["problem 1", "problem 4", "problem 9"]), str, sees=99)
        assert len(found) == 2
        first = asks_one_of(["problem 1", "problem 4"])
        assert groups_that_ask(connection, first, str, sees=min(found)) == {min(found)}
        assert groups_that_ask(connection, asks_one_of([]), str, sees=99) == set()


def test_a_prompt_without_a_text_is_decoded(place: str) -> None:
    store = RolloutStore(place)
    _, reward = fill(store, "a", versions=1, groups=0)
    known = {"ids": None, "rendered": "<|user|>7 + 5 =<|end|>", "chat": [{"role": "user", "content": "8 + 5 ="}]}
    with store.writing() as connection:
        new = [replace(sampled(place), columns={"prompt": prompt}) for place, prompt in enumerate(known.values())]
        writing.add_groups(connection, 1, new, reward)
        asks = asks_one_of(["7 + 5 ="])
        assert groups_that_ask(connection, asks, lambda ids: "\n7 + 5 =\n", sees=99) == {1, 2}
        assert groups_that_ask(connection, asks, lambda ids: "something else", sees=99) == set()
        assert groups_that_ask(connection, asks_one_of([[], ""]), lambda ids: "", sees=99) == set()

"""Rows of a log are given back in the order of their prompts, each once, with all that was said of them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from r2vpo.recording import shelf as shelves
from r2vpo.recording.left_out import Place
from r2vpo.recording.shelf import Data, Prompt, Shelf

PROMPT = Prompt(0, b"\1\0\0\0", 1.0)


def data(number: int = 0) -> Data:
    values = np.array([-0.1 * number, -1e-30, float(number)], np.float32)
    return Data(np.arange(number, number + 3, dtype=np.int32).tobytes(), values.tobytes(), None, 1.5 * number)


def put(shelf: Shelf, line: int, prompt: Prompt = PROMPT, **changes: Any) -> bool:
    given = {"name": None, "response": None, "feedback": None} | changes
    return shelf.add(Place(0, line), prompt, data(line), "{}", **given)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 7, 1024])
def test_answers_to_one_prompt_are_together(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "MOST_ROWS", most)
    choose, shelf = random.Random(seed), Shelf()
    expected: dict[Prompt, list[tuple[Place, Data, str]]] = {}
    for _ in range(300):
        ids = np.array([choose.randint(0, 2)], np.int32).tobytes()
        prompt, columns = Prompt(choose.randint(0, 1), ids, choose.choice([0.7, 1.0])), choose.choice(["{}", '{"a":1}'])
        place = Place(choose.randint(0, 2), choose.randint(1, 500))
        row = data(choose.randint(0, 9))._replace(ended=choose.choice([None, True, False]))
        assert shelf.add(place, prompt, row, columns, name=None, response=None, feedback=None)
        expected.setdefault(prompt, []).append((place, row, columns))
    found: dict[Prompt, list[tuple[Place, Data, str]]] = {}
    versions, digests = [], {}
    for lot in shelf.lots():
        prompt = Prompt(lot.version, lot.prompt_ids, lot.temperature)
        assert digests.setdefault((lot.version, lot.prompt), prompt) == prompt
        assert 1 <= len(lot.rows) <= most and lot.part == len(found.get(prompt, [])) // most
        found.setdefault(prompt, []).extend((row.place, row.data, row.columns) for row in lot.rows)
        versions.append(lot.version)
        assert all(row.feedback is None for row in lot.rows)
    assert versions == sorted(versions) and len(digests) == len(expected)
    assert found == {prompt: sorted(rows, key=lambda row: row[0]) for prompt, rows in expected.items()}
    assert {type(row.ended) for rows in found.values() for _, row, _ in rows} == {type(None), bool}


def test_a_name_counts_once() -> None:
    shelf = Shelf()
    assert [put(shelf, line, name=name) for line, name in enumerate(["a", "b", "a", None, None])] == [
        True,
        True,
        False,
        True,
        True,
    ]
    (lot,) = shelf.lots()
    assert [row.place.line for row in lot.rows] == [0, 1, 3, 4]


def test_later_feedback_replaces_earlier_key_by_key() -> None:
    shelf = Shelf()
    shelf.add_feedback("a", {"thumb": 0, "early": 1})
    put(shelf, 1, response="a", feedback={"thumb": 0.5, "own": True})
    put(shelf, 2, response="a")
    put(shelf, 3, response="b", feedback={"thumb": 2})
    put(shelf, 4, response="c")
    put(shelf, 5)
    shelf.add_feedback("a", {"thumb": 1, "late": None})
    shelf.add_feedback("nobody", {"thumb": 9})
    (lot,) = shelf.lots()
    said = {"thumb": 1, "early": 1, "late": None}
    assert [row.feedback for row in lot.rows] == [{"own": True, **said}, said, {"thumb": 2}, None, None]


def test_feedback_on_one_answer_is_not_that_of_the_others() -> None:
    shelf = Shelf()
    shelf.add_feedback("a", {"thumb": 1}, name="a/1")
    for index in range(3):
        put(shelf, index, name=f"a/{index}", response="a")
    put(shelf, 3, name="b/1", response="b")
    shelf.add_feedback("a", {"edited": 0})
    shelf.add_feedback("a", {"edited": 1}, name="a/2")
    (lot,) = shelf.lots()
    assert [row.feedback for row in lot.rows] == [{"edited": 0}, {"thumb": 1, "edited": 0}, {"edited": 1}, None]


def test_an_empty_one_gives_nothing_and_can_be_filled_after_it_was_read() -> None:
    shelf = Shelf()
    assert list(shelf.lots()) == []
    put(shelf, 1)
    assert [len(lot.rows) for lot in shelf.lots()] == [len(lot.rows) for lot in shelf.lots()] == [1]

"""The first pass over a log: what can be used is on the shelf, and the rest is counted with its reason."""

from __future__ import annotations

import copy
import gzip
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r2vpo.recording import left_out
from r2vpo.recording.gathering import Gathered, LogOptions, gather
from r2vpo.recording.lines import LOG
from r2vpo.store.encoding import digest
from tests.tiny import tiny_tokenizer
from tests.unit.recording.logs import CHAT, CHAT_STREAM, COMPLETION, LIGHTLLM, SEVERAL, SGLANG, STREAM, flat, write

OPTIONS = LogOptions(log_probs_of="sampling")
WHOLE = [COMPLETION, SEVERAL, STREAM, CHAT, CHAT_STREAM, SGLANG, LIGHTLLM, flat(id="f")]
ANSWERS = [2, 4, 2, 1, 1, 1, 2, 1]


def gathered(*paths: Path, options: LogOptions = OPTIONS) -> Gathered:
    return gather(paths, tiny_tokenizer(), options)


def on_shelf(found: Gathered) -> list[Any]:
    return [(lot, row) for lot in found.shelf.lots() for row in lot.rows]


def test_every_form_of_a_log_is_read(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", *WHOLE)
    found = gathered(log)
    assert not found.left_out.counts and found.read == sum(ANSWERS) and not found.recorded
    lines = [row.place.line for _, row in on_shelf(found)]
    assert [lines.count(line) for line in range(1, len(WHOLE) + 1)] == ANSWERS
    assert found.key == digest(json.dumps(COMPLETION).encode())
    (lightllm,) = [lot for lot, row in on_shelf(found) if row.place.line == 7 and len(row.data.ids) == 8]
    assert np.frombuffer(lightllm.prompt_ids, np.int32).tolist() == [9, 12, 10, 14] and lightllm.temperature == 0.7


def test_files_are_one_log_and_the_proxy_marks_its_own(tmp_path: Path) -> None:
    first = write(tmp_path / "0.jsonl", {LOG: "abc"}, COMPLETION, {"id": "x", "feedback": {"thumb": 1}})
    second = tmp_path / "1.jsonl.gz"
    second.write_bytes(gzip.compress(f"\n{json.dumps(flat(id='x', model='other'))}\n".encode()))
    found = gathered(first, second)
    assert found.recorded and found.read == 3 and found.key == digest(json.dumps({LOG: "abc"}).encode())
    assert {name: one.number for name, one in found.versions.items()} == {"tiny": 0, "other": 1}
    (feedback,) = [row.feedback for _, row in on_shelf(found) if row.place == (1, 2)]
    assert feedback == {"thumb": 1}
    assert gathered(second).key != found.key


def test_feedback_can_name_an_answer_of_a_response(tmp_path: Path) -> None:
    response = SEVERAL["response"]
    later = [
        {"id": response["id"], "feedback": {"thumb": 0}},
        {"id": response["id"], "index": 1, "feedback": {"thumb": 1}},
        *({"id": response["id"], "index": wrong, "feedback": {"thumb": 9}} for wrong in (-1, True, "1", 0.0)),
    ]
    found = gathered(write(tmp_path / "log.jsonl", SEVERAL, *later))
    said = [row.feedback for _, row in on_shelf(found)]
    assert len(said) > 1 and sorted(one["thumb"] for one in said if one) == [0] * (len(said) - 1) + [1]
    assert found.left_out.counts == {left_out.NOT_A_NUMBER: 4}


def test_versions_have_the_times_of_their_answers(tmp_path: Path) -> None:
    rows = [flat(answer=str(place), time=moment) for place, moment in enumerate([30.0, 10.0, 20.0])]
    found = gathered(write(tmp_path / "log.jsonl", *rows, flat(model="b", time="1970-01-01T00:00:05Z")))
    assert {name: (one.first, one.last) for name, one in found.versions.items()} == {"tiny": (10, 30), "b": (5, 5)}
    before = time.time()
    (version,) = gathered(write(tmp_path / "b.jsonl", flat(time=None))).versions.values()
    (name,) = gathered(write(tmp_path / "c.jsonl", flat(model=None))).versions
    assert name == "unnamed"
    assert before <= version.first <= time.time(), "a log without times was written now"


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, 1e300, 10**400, 1_796_002_535_200_000, -1e15])
def test_a_number_that_is_no_time_is_not_taken_for_one(tmp_path: Path, moment: float) -> None:
    log = write(tmp_path / "log.jsonl", COMPLETION | {"time": moment})
    (version,) = gathered(log).versions.values()
    assert version.first == COMPLETION["response"]["created"]


def test_the_row_of_the_data_is_in_the_lot(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", flat(metadata={"answer": [1, {"b": "ä"}]}), flat(metadata={}))
    found = gathered(log, options=LogOptions(columns={"gold": "metadata.answer"}))
    ((lot, _),) = on_shelf(found)
    assert json.loads(lot.rows[0].columns) == {"prompt": "7+8=", "gold": [1, {"b": "ä"}]}
    assert [reason.text for reason in found.left_out.counts] == ["no column metadata.answer"]


def test_what_is_left_out(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.jsonl",
        flat(id="a"),
        flat(id="a"),
        "{",
        "[1]",
        {"a": 1},
        {"id": "a", "feedback": "great"},
        flat(text="17"),
        flat(finish_reason="abort"),
        flat(sampling_params={"top_p": 0.5, "magic": 3}),
        COMPLETION | {"response": STREAM["response"][:400]},
    )
    found = gathered(log)
    assert found.read == 10 and len(on_shelf(found)) == 1
    reasons = {reason: found.left_out.first[reason][0].line for reason in found.left_out.counts}
    assert reasons.pop(left_out.TWICE) == 2 and reasons.pop(left_out.NOT_JSON) == 3
    assert reasons.pop(left_out.NO_EXCHANGE) == 5 and reasons.pop(left_out.NOT_A_NUMBER) == 6
    assert reasons.pop(left_out.OTHER_TOKENIZER) == 7 and reasons.pop(left_out.UNFINISHED) == 8
    ((reason, line),) = reasons.items()
    assert "unknown sampling parameter, magic" in reason.text and line == 9
    assert found.left_out.counts[left_out.UNFINISHED] == 2 and found.left_out.counts[left_out.NOT_JSON] == 2


# What a field can be instead of what a server writes there.
WRONG = [
    None,
    True,
    -1,
    0.5,
    10**400,
    math.nan,
    math.inf,
    "",
    "x",
    "7",
    "\ud800",
    [],
    [[]],
    [None],
    {},
    {"a": []},
    [[1]],
]


def broken(row: dict[str, Any], choose: random.Random) -> Any:
    """A copy of a row in which a field at any depth is something else, or is not there."""
    copied = copy.deepcopy(row)
    where: Any = copied
    while True:
        key = choose.choice(list(where) if isinstance(where, dict) else range(len(where)))
        if not isinstance(where[key], dict | list) or not where[key] or choose.random() < 0.3:
            break
        where = where[key]
    if choose.random() < 0.2:
        del where[key]
    else:
        where[key] = choose.choice(WRONG)
    return copied


def broken_stream(row: dict[str, Any], choose: random.Random) -> Any:
    lines = row["response"].split("\n")
    place = choose.choice([number for number, line in enumerate(lines) if line.startswith("data: {")])
    event = json.loads(lines[place].removeprefix("data: "))
    lines[place] = f"data: {json.dumps(broken(event, choose))}"
    return row | {"response": "\n".join(lines)}


@pytest.mark.parametrize("seed", range(8))
def test_no_row_can_stop_an_import(tmp_path: Path, seed: int) -> None:
    """Rows with a field of another type are used or left out, and those around them are not affected."""
    choose = random.Random(seed)
    rows: list[Any] = [flat("1+2=", "3", id="first")]
    for number in range(400):
        row = json.loads(json.dumps(choose.choice(WHOLE)).replace("cmpl-", f"cmpl-{number}-"))  # each has its id
        stream = isinstance(row.get("response"), str) and choose.random() < 0.8
        rows.append((broken_stream if stream else broken)(row, choose))
        if choose.random() < 0.3:
            rows.append({"id": choose.choice(WRONG), "feedback": choose.choice(WRONG)})
        rows.append(flat("1+2=", "3", id=f"good {number}"))
    found = gathered(write(tmp_path / "log.jsonl", *rows))
    kept = on_shelf(found)
    assert len(kept) + sum(found.left_out.counts.values()) == found.read
    good = {place for place, row in enumerate(rows, 1) if str(row.get("id")).startswith(("good", "first"))}
    assert good <= {row.place.line for _, row in kept}
    for lot, row in kept:
        assert math.isfinite(lot.temperature) and lot.temperature > 0 and math.isfinite(row.data.time)
        assert np.isfinite(np.frombuffer(row.data.log_probs, np.float32)).all()
    assert all(line.isprintable() for line in found.left_out.lines(["log.jsonl"]))

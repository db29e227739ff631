"""Logs become groups in the store, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from r2vpo.errors import UserError
from r2vpo.recording import adding, left_out, shelf
from r2vpo.recording.gathering import LogOptions
from r2vpo.recording.importing import check_log
from r2vpo.recording.scoring import FeedbackReward, FunctionReward
from r2vpo.rewards.identity import reward_version
from r2vpo.store import RolloutStore, drawing
from r2vpo.store.tables import groups, prompts, rewards, rollouts, runs, scores, versions
from tests.tiny import even_digits, tiny_tokenizer
from tests.unit.recording.logs import (
    CHAT,
    COMPLETION,
    ENDED,
    ERROR,
    NO_LOG_PROBS,
    STREAM,
    TOP_P,
    flat,
    imported,
    stored,
    write,
)

UP, DOWN = {"feedback": {"thumb": 1}}, {"feedback": {"thumb": 0}}


def sizes(store: Path) -> list[int]:
    return sorted(size for (size,) in stored(store, groups.c.size, by=groups.c.id))


def test_what_vllm_logged_is_in_the_store(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.jsonl", COMPLETION | UP, CHAT | DOWN, STREAM | UP, ENDED | {"feedback": {"thumb": True}}
    )
    done = imported(log, tmp_path / "s.db", log_probs_of="sampling")
    assert (done.rows, done.groups, done.known, done.gathered.read) == (6, 2, 0, 6) and not done.left_out.counts
    with RolloutStore(tmp_path / "s.db", create=False).reading() as connection:
        found = drawing.read_groups(connection, [1, 2], 1)
    by_prompt = {type(one.columns["prompt"]): one for one in found}
    completions, (chat,) = by_prompt[str].group, by_prompt[list].group.rollouts
    assert completions.prompt_ids.tolist() == [9, 12, 10, 14] and len(completions) == 5
    (first,) = [row for row in completions.rollouts if row.response_ids.tolist() == [0, 8, 6, 5, 3, 3]]
    assert first.response_mask.all() and first.reward == 1.0
    expected = COMPLETION["response"]["choices"][0]["logprobs"]["token_logprobs"]
    assert torch.equal(first.rollout_log_probs, torch.tensor(expected))
    assert chat.reward == 0.0 and by_prompt[list].columns == {"prompt": CHAT["request"]["messages"]}
    (run,) = stored(tmp_path / "s.db", runs.c.name, runs.c.kind, runs.c.model, runs.c.tokenizer, by=runs.c.id)
    assert run == ("log", "import", "tiny", "tokenizer")
    times = [row["response"]["created"] for row in (COMPLETION, CHAT, ENDED)]
    (version,) = stored(tmp_path / "s.db", versions.c.number, versions.c.created, by=versions.c.id)
    assert version == (0, max(times))
    ended = stored(tmp_path / "s.db", rollouts.c.ended, by=rollouts.c.length)
    assert sum(value for (value,) in ended) == 1, "one of them ended by itself"


def test_importing_again_adds_only_what_is_new(tmp_path: Path) -> None:
    rows: list[Any] = [flat(answer=answer) | UP for answer in ("15", "1", "15")] + [flat("1+2=", "3", id="a")]
    store, log = tmp_path / "s.db", write(tmp_path / "log.jsonl", *rows)
    first = imported(log, store)
    assert (first.rows, first.groups, first.known) == (3, 1, 0)
    again = imported(log, store)
    assert (again.rows, again.groups, again.known) == (0, 0, 3) and sizes(store) == [3]
    # The log has grown: a third equal answer, another one, and feedback on an earlier one.
    rows += [flat(answer="15") | UP, flat(answer="16") | DOWN, {"id": "a", "feedback": {"thumb": -1}}]
    write(log, *rows)
    grown = imported(log, store)
    assert (grown.rows, grown.groups, grown.known) == (3, 2, 3) and sizes(store) == [1, 2, 3]
    assert (imported(log, store).rows, sizes(store)) == (0, [1, 2, 3])
    assert len(stored(store, runs.c.id, by=runs.c.id)) == 1
    # Another log is another import.
    other = imported(write(tmp_path / "other.jsonl", flat("2+3=", "5") | UP), store)
    assert other.rows == 1 and len(stored(store, runs.c.id, by=runs.c.id)) == 2


def test_a_prompt_that_is_asked_often_is_many_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MOST_ROWS", 40)
    log = write(tmp_path / "log.jsonl", *[flat(answer=str(number)) | UP for number in range(100)])
    assert imported(log, tmp_path / "s.db").groups == 8
    most = adding.MOST_ROWS
    assert sizes(tmp_path / "s.db") == sorted([most, most, 40 - 2 * most] * 2 + [most, 20 - most])
    assert imported(log, tmp_path / "s.db").known == 100


def test_what_is_left_out_is_counted_with_the_first_example(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log.jsonl",
        COMPLETION | UP,
        "{not JSON",
        TOP_P | UP,
        TOP_P | UP | {"request": TOP_P["request"] | {"top_p": 0.8}},
        NO_LOG_PROBS | UP,
        ERROR | UP,
        ENDED,
        ENDED | UP,
        CHAT | {"feedback": {"thumb": "great"}},
        flat(text="17") | UP,
        flat(token_ids=[3, 99]) | UP,
    )
    done = imported(log, tmp_path / "s.db")
    assert done.rows == 2 and done.gathered.read == 12
    assert sum(done.left_out.counts.values()) == 10 and len(done.left_out.counts) == 8
    lines = done.left_out.lines(["log.jsonl"])
    assert len(lines) == 8
    (top_p,) = [line for line in lines if "top_p" in line]
    assert "2 left out" in top_p and "log.jsonl, line 3 (top_p 0.5)" in top_p and "--logprobs-mode" in top_p
    (other,) = [line for line in lines if "decode" in line]
    assert "2 left out" in other and "line 10 ('1 5' is not '17')" in other and "--model" in other
    assert any("line 7; log it" in line for line in lines), "the second has the same id, and counts as twice"
    assert any('thumb is "great"' in line for line in lines) and any("line 2" in line for line in lines)


def test_nothing_is_made_of_a_log_that_cannot_be_used(tmp_path: Path) -> None:
    done = imported(write(tmp_path / "log.jsonl", NO_LOG_PROBS | UP, "7", ENDED), tmp_path / "s.db")
    assert done.rows == done.known == 0 and not (tmp_path / "s.db").exists()


def test_a_version_keeps_its_number_when_old_files_of_the_log_are_gone(tmp_path: Path) -> None:
    """Nor is it another one because answers before it have become usable."""
    first, store = json.dumps({"r2vpo_log": "a"}), tmp_path / "s.db"
    monday = flat(answer="1", model="monday", sampling_params={"temperature": 0.5}) | UP
    tuesday, wednesday = (flat(answer=str(n), model=name) | UP for n, name in ((2, "tuesday"), (3, "wednesday")))
    assert imported(write(tmp_path / "log.jsonl", first, monday, tuesday), store).rows == 1
    done = imported(write(tmp_path / "log.jsonl", first, monday, tuesday), store, log_probs_of="sampling")
    assert (done.rows, done.known) == (1, 1)
    done = imported(write(tmp_path / "log.jsonl", first, wednesday, tuesday), store)
    assert (done.rows, done.known) == (1, 1)
    with RolloutStore(store, create=False).reading() as connection:
        of_version = dict(connection.execute(select(groups.c.id, versions.c.number).join(versions)).tuples().all())
    assert of_version == {1: 0, 2: 1, 3: 2}


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", flat() | UP, flat(answer="1") | UP, flat("1+2=", "3"))
    reward = FeedbackReward({"thumb": 1.0})
    done = check_log([log], tiny_tokenizer(), LogOptions(), reward)
    assert (done.rows, done.groups, list(done.left_out.counts)) == (2, 1, [left_out.NO_FEEDBACK])
    assert check_log([log], tiny_tokenizer(), LogOptions(), None).rows == 3
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_versions_are_told_apart(tmp_path: Path) -> None:
    rows = [flat(answer=str(place), model=f"m{place // 2}", time=100.0 * place) | UP for place in range(5)]
    log = write(tmp_path / "log.jsonl", *rows)
    assert imported(log, tmp_path / "s.db").groups == 3
    created = stored(tmp_path / "s.db", versions.c.number, versions.c.created, by=versions.c.number)
    assert created == [(0, 100.0), (1, 300.0), (2, 400.0)]
    rows = [row | {"deployment": {"build": place % 2}} for place, row in enumerate(rows)]
    done = imported(write(tmp_path / "b.jsonl", *rows), tmp_path / "b.db", version_column="deployment.build")
    assert done.groups == 2
    assert {name: (one.first, one.last) for name, one in done.gathered.versions.items()} == {
        "0": (0.0, 400.0),
        "1": (100.0, 300.0),
    }


def test_temperatures_and_rows_of_the_data_are_not_mixed_in_a_group(tmp_path: Path) -> None:
    rows = [
        flat(answer=str(place), sampling_params={"temperature": 1 + place % 2}, metadata={"gold": place // 2}) | UP
        for place in range(4)
    ]
    log = write(tmp_path / "log.jsonl", *rows, flat() | UP)
    done = imported(log, tmp_path / "s.db", columns={"gold": "metadata.gold"}, log_probs_of="temperature")
    assert done.groups == 4 and [reason.text for reason in done.left_out.counts] == ["no column metadata.gold"]
    found = stored(tmp_path / "s.db", groups.c.temperature, by=groups.c.temperature)
    assert found == [(1.0,), (1.0,), (2.0,), (2.0,)]
    columns = [json.loads(text) for (text,) in stored(tmp_path / "s.db", prompts.c.columns, by=prompts.c.columns)]
    assert columns == [{"gold": 0, "prompt": "7+8="}, {"gold": 1, "prompt": "7+8="}]


def test_a_reward_function_scores_what_the_ids_decode_to(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", flat(answer="22"), flat(answer="13"), flat("1+2=", "4"))
    reward = FunctionReward(even_digits, "tests.tiny:even_digits")
    assert imported(log, tmp_path / "s.db", reward).rows == 3
    found = stored(tmp_path / "s.db", scores.c.score, scores.c.parts, by=scores.c.score)
    assert [score for score, _ in found] == [0.0, 1.0, 2.0] and json.loads(found[2][1]) == {"even_digits": 2.0}
    (known,) = stored(tmp_path / "s.db", rewards.c.version, rewards.c.description, by=rewards.c.id)
    assert known == (reward_version([even_digits], ["even_digits"], [1.0]), "even_digits"), "as a run with it has"
    assert imported(log, tmp_path / "s.db", reward).known == 3


def test_answers_without_a_score_are_left_out(tmp_path: Path) -> None:
    def odd(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
        return [None if text == "4" else 1.0 for text in completions]

    log = write(tmp_path / "log.jsonl", flat(answer="22"), flat("1+2=", "4"))
    done = imported(log, tmp_path / "s.db", FunctionReward(odd, "odd"))
    assert done.rows == 1 and done.left_out.counts == {left_out.NO_SCORE: 1}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.jsonl: No such file or directory: name files"):
        imported(tmp_path / "no.jsonl", tmp_path / "s.db")

"""`r2vpo rollouts list`, `show`, `stats` and `check`, on a store that real runs have filled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update

from r2vpo.cli.main import main
from r2vpo.config.run_directory import RunDirectory
from r2vpo.store import RolloutStore
from r2vpo.store.tables import draws, groups, measurements, rollouts, runs
from tests.unit.cli.helpers import failure
from tests.unit.cli.stored import copied


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["rollouts", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_list_has_every_run(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heading, monday, tuesday = printed(capsys, "list", "--store", store).splitlines()
    assert heading.split()[:4] == ["run", "key", "kind", "model"]
    assert monday.split()[0] == "monday" and tuesday.split()[0] == "tuesday"
    listed = json.loads(printed(capsys, "list", "--store", store, "--tag", "monday", "--json"))
    assert [run["name"] for run in listed] == ["monday"] and listed[0]["tags"] == ["monday"]
    assert (listed[0]["versions"], listed[0]["groups"], listed[0]["rollouts"]) == (2, 8, 32)
    with RolloutStore(store).reading() as connection:
        used = connection.execute(
            select(func.sum(groups.c.size)).join(draws, draws.c.group == groups.c.id)
        ).scalar_one()
    assert listed[0]["uses"] == used > 0
    key = listed[0]["key"]
    assert printed(capsys, "list", "--store", store, "--run", key[:8]).splitlines()[1].split()[1] == key[:8]


def test_a_run_is_shown_by_its_versions(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, heading, *versions = printed(capsys, "show", "monday", "--store", store).splitlines()
    assert first.startswith("monday: training, key ") and "tags monday" in first
    assert "share" in heading and [line.split()[0] for line in versions] == ["0", "1"]
    assert all("even_digits" in line for line in versions)


def test_a_group_is_shown_with_its_texts(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "show", "1", "--store", store)
    assert out.count("\nresponse ") == 4 and out.count(" by even_digits (even_digits ") == 4
    prompt = out.partition("tokens:\n")[2].splitlines()[0].replace(" ", "")
    first, _, second = prompt.removesuffix("=").partition("+")
    assert int(second) == int(first) + 1, "a prompt of the data, as text"
    with RolloutStore(store).reading() as connection:
        names = connection.execute(select(runs.c.id, runs.c.tokenizer)).all()
    other = RolloutStore(store)
    try:
        with other.writing() as connection:
            connection.execute(update(runs).values(tokenizer="another"))
        out = printed(capsys, "show", "1", "--store", store)
    finally:
        with other.writing() as connection:
            for number, tokenizer in names:
                connection.execute(update(runs).where(runs.c.id == number).values(tokenizer=tokenizer))
    assert "note: token ids instead of texts: the tokenizer of " in out and out.count("\nresponse ") == 4


def test_what_is_not_there_cannot_be_shown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run is called x: it has monday, tuesday" in failure(
        capsys, 2, "rollouts", "show", "x", "--store", str(store)
    )
    assert "there is no group 999" in failure(capsys, 2, "rollouts", "show", "999", "--store", str(store))
    assert "there is no such file" in failure(capsys, 2, "rollouts", "list", "--store", str(store) + "x")


def test_the_weight_of_what_was_drawn(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "stats", "--store", store, "--runs-dir", tmp_path, "--json"))
    with RolloutStore(store).reading() as connection:
        rows, tokens = connection.execute(select(func.sum(measurements.c.rows), func.sum(measurements.c.tokens))).one()
        assert found["rollouts"] == connection.execute(select(func.count()).select_from(rollouts)).scalar_one()
    drawn = found["drawn"]
    fresh = drawn["weight_in_fresh_tokens"]
    assert drawn["rollouts"] == rows and 0 < drawn["weight_in_fresh_rollouts"] <= rows and 0 < fresh <= tokens
    assert drawn["hours_to_sample_as_many"] is None and drawn["runs_of_unknown_speed"] == ["tuesday"]
    (monday, tuesday) = found["by_run_and_age"]
    assert (monday["run"], monday["age"], tuesday["share"]) == ("monday", "under a day", None) and 0 < monday[
        "share"
    ] <= 1
    speed = ["--tokens-per-second", "2", "--price-per-hour", "3", "--price-per-million-tokens", "5"]
    priced = json.loads(printed(capsys, "stats", "--store", store, "--runs-dir", tmp_path, "--json", *speed))["drawn"]
    assert priced["hours_to_sample_as_many"] == pytest.approx(fresh / 2 / 3600)
    assert priced["price_by_hours"] == pytest.approx(3 * fresh / 2 / 3600)
    assert priced["price_by_tokens"] == pytest.approx(5e-6 * fresh)
    (tmp_path / "tuesday").mkdir()
    RunDirectory(tmp_path / "tuesday").append_metrics({"step": 1, "tokens_generated": 100, "seconds_generating": 10})
    read = json.loads(printed(capsys, "stats", "--store", store, "--runs-dir", tmp_path, "--json", *speed))["drawn"]
    assert read["hours_to_sample_as_many"] == pytest.approx(fresh / 10 / 3600), "the log knows better than the option"
    words = printed(capsys, "stats", "--store", store, "--runs-dir", tmp_path, *speed)
    weight = round(drawn["weight_in_fresh_rollouts"])
    assert f"drawn: {rows} rollouts" in words and f"weight in fresh rollouts: {weight}, of " in words
    assert f"price of as many, by hours: {3 * fresh / 10 / 3600:.3g}" in words and "saved: " not in words
    assert "give --tokens-per-second" in printed(capsys, "stats", "--store", store)


def test_a_check_finds_and_removes_what_cannot_be_read(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = copied(store, tmp_path)
    assert printed(capsys, "check", "--store", store) == f"{store}: intact, 16 groups\n"
    with RolloutStore(store).writing() as connection:
        connection.execute(update(groups).where(groups.c.id.in_([2, 3])).values(tokens=b"damage"))
    check = ["rollouts", "check", "--store", str(store)]
    assert main(check) == 1
    out = capsys.readouterr().out
    assert out.startswith("2 groups that cannot be read; the first: group 2: ") and "--repair removes" in out
    assert "There is no terminal to ask on: add --yes" in failure(capsys, 2, *check, "--repair")
    assert main([*check, "--repair", "--yes"]) == 0
    assert "removed 2 groups" in capsys.readouterr().out
    assert main(check) == 0
    assert "intact, 14 groups" in capsys.readouterr().out


def test_a_check_says_by_its_exit_code_what_is_damaged_and_what_is_no_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = copied(store, tmp_path)
    whole = store.read_bytes()
    store.write_bytes(whole[: len(whole) // 2])
    for repair in ([], ["--repair", "--yes"]):
        assert main(["rollouts", "check", "--store", str(store), *repair]) == 1
        assert "malformed: it is damaged; restore a copy" in capsys.readouterr().out
    store.write_bytes(whole)
    with RolloutStore(store).writing() as connection:
        connection.execute(text("ALTER TABLE versions DROP COLUMN fingerprint"))
    assert main(["rollouts", "check", "--store", str(store)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "1 missing columns; the first: versions.fingerprint\nthe groups were not read: restore a copy"
    )
    for content, line in ((b"", "it is empty"), (b"text" * 999, "the file is not a store of rollouts")):
        store.write_bytes(content)
        assert line in failure(capsys, 2, "rollouts", "check", "--store", str(store))

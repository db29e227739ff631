"""The section of a run's page about rollouts of other runs, from the store that the run drew from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import update

from r2vpo.config.run_directory import RunDirectory
from r2vpo.report.build import build_overlay, build_report
from r2vpo.report.data import load_run
from r2vpo.report.stored import stored
from r2vpo.store import RolloutStore
from r2vpo.store.tables import runs, versions
from tests.browser import chromium
from tests.unit.report.embedded import embedded
from tests.unit.report.synthetic_run import make_run, synthetic_recipe
from tests.unit.store.filled import add_run, fill
from tests.unit.store.test_drawn import note


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that drew from two versions of run-a and from one, soon worthless, of a run with an odd name."""
    replay = {"store": str(tmp_path / "s.db"), "from": {}}
    made = make_run(tmp_path / "runs", recipe=synthetic_recipe(replay=replay))
    store = RolloutStore(tmp_path / "s.db")
    fill(store, "a", 3, 1)
    fill(store, "b", 1, 1, name="<b>bold</b>")
    mine = add_run(store, "c", name=made.path.name)
    with store.writing() as connection:
        connection.execute(update(versions).values(created=1000.0))
        connection.execute(update(runs).where(runs.c.id == mine).values(started=1000.0 + 7500))
    for number in (0, 1):
        note(store, mine, number, 1, 8, 1.0 - 0.5 * number)
    note(store, mine, 0, 2, 8, 0.5)
    note(store, mine, 1, 4, 32, 0.01)
    store.close()
    return made


def test_what_was_drawn(run: RunDirectory) -> None:
    found = stored(load_run(run.path))
    assert found is not None and found["note"] is None
    assert [(row["source"], row["version"], row["rows"]) for row in found["rows"]] == [
        ("<b>bold</b>", 0, 32),
        ("run-a", 0, 16),
        ("run-a", 1, 8),
    ]
    worthless, first, second = found["rows"]
    assert worthless["left_out_since"] == 2 and first["left_out_since"] is None
    assert (first["first"], second["first"], second["last"]) == (1.0, 0.5, 0.5) and 0.5 < first["last"] < 1
    assert first["age"] == "2 h 05 min"
    total = sum(row["weight"] for row in found["rows"])
    assert found["drawn"].startswith(
        f"56 rows were drawn. By their share of effective weight they count as {total:.0f}"
    )
    run.append_metrics({"step": 161, "tokens_generated": 10, "seconds_generating": 1.0})
    found = stored(load_run(run.path))
    assert found is not None and found["drawn"].endswith(" of 171 tokens, which take 17 s to sample and score.")


def test_a_report_does_not_need_the_store(run: RunDirectory, tmp_path: Path) -> None:
    assert stored(load_run(make_run(tmp_path / "others").path)) is None
    with RolloutStore(tmp_path / "s.db").writing() as connection:
        connection.execute(update(runs).values(name="another"))
    found = stored(load_run(run.path))
    assert found is not None and f"it has no run called {run.path.name}" in found["note"] and not found["rows"]
    assert found["drawn"] is None
    (tmp_path / "s.db").write_text("no database")
    for rest in ("s.db-wal", "s.db-shm"):
        (tmp_path / rest).unlink(missing_ok=True)
    found = stored(load_run(run.path))
    assert found is not None and "file is not a database" in found["note"]
    os.unlink(tmp_path / "s.db")
    found = embedded(build_report(run.path))["runs"][0]["stored"]
    assert "there is no such file" in found["note"] and not (tmp_path / "s.db").exists()


def test_the_page_shows_it(run: RunDirectory, tmp_path: Path) -> None:
    page_file = build_report(run.path)
    assert page_file.stat().st_size < 3_000_000
    other = make_run(tmp_path / "others")
    both = build_overlay([run.path, other.path], tmp_path / "both.html")
    plain = build_report(other.path)
    with chromium(width=1200, height=900) as browser:
        page = browser.open(page_file.as_uri())
        page.wait_for("document.documentElement.dataset.ready === 'yes'")
        cells = page.evaluate(
            "[...document.querySelectorAll('#drawn-rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert [row[:4] for row in cells] == [
            ["<b>bold</b>", "0", "2 h 05 min", "32"],
            ["run-a", "0", "2 h 05 min", "16"],
            ["run-a", "1", "2 h 05 min", "8"],
        ]
        heads = page.evaluate("[...document.querySelectorAll('#drawn-head th')].map(cell => cell.textContent)")
        assert heads[3] == "rows drawn" and heads[5] == "weight in fresh rollouts"
        assert cells[2][4:] == ["50.0 % to 50.0 %", "4", "–"] and cells[0][6] == "2"
        assert page.evaluate("document.getElementById('drawn-note').textContent").startswith("56 rows were drawn.")
        for key in ("stored-rows", "stored-share", "stored-versions"):
            assert page.evaluate(f"!!document.querySelector('#{key} .legend')"), key
        assert page.errors == []
        page = browser.open(both.as_uri())
        page.wait_for("document.documentElement.dataset.ready === 'yes'")
        first = page.evaluate("document.querySelector('#drawn-rows tr').cells[0].textContent")
        assert first == embedded(both)["runs"][0]["name"] and page.errors == []
        page = browser.open(plain.as_uri())
        page.wait_for("document.documentElement.dataset.ready === 'yes'")
        assert page.evaluate("document.getElementById('drawn').hidden")

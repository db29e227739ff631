"""What a report reads of a run: a number too large to draw leaves a gap, one that is not finite is refused."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from r2vpo.config.run_events import EVENTS, append_event
from r2vpo.report.data import LARGEST, load_run
from tests.unit.cli.helpers import failure
from tests.unit.report.embedded import embedded
from tests.unit.report.synthetic_run import make_run, metrics_record, synthetic_recipe


@pytest.mark.parametrize("number", [1e308, -1e308, 10**200, 2.0 * LARGEST])
def test_a_number_that_is_too_large_leaves_a_gap(tmp_path: Path, number: float) -> None:
    run = make_run(tmp_path, steps=32)
    summary, known = run.read_summary() or {}, set(metrics_record(1, random.Random(0), synthetic_recipe()))
    whole = dict.fromkeys(known - {"step", "staleness_rows"}, number)
    for step in (33, 34):  # the sum of two is not finite
        run.append_metrics(whole | {"step": step, "staleness_rows": [number] * 6})
    value = dict.fromkeys(("value", "low", "high"), number)
    run.append_evaluation({"step": 64, "rollouts_generated": number, "accuracy": value})
    run.write_summary(summary | {"wall_seconds": number, "rollouts_reused": number})
    picture = tmp_path / "a.png"
    assert main(["report", str(run.path), "--png", str(picture)]) == 0 and picture.is_file()
    drawn = embedded(run.report)["runs"][0]["tables"]["steps"]
    assert drawn["x"]["step"][-2:] == [33, 34] and drawn["x"]["seconds"][-2:] == [None, None]
    assert {place for curve in drawn["curves"].values() for place in curve["at"]} <= set(range(32))


@pytest.mark.parametrize("file", ["metrics.jsonl", "evaluations.jsonl", EVENTS])
@pytest.mark.parametrize("number", ["1e999", "NaN"])
def test_a_record_with_a_number_that_is_not_finite_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, number: str
) -> None:
    run = make_run(tmp_path, steps=32)
    append_event(run.path, "note", "text", step=1)
    path = run.path / file
    first, *others = path.read_bytes().split(b"\n")
    record = json.loads(first)
    del record["crc32"]
    text = json.dumps(record | {"seconds": "NUMBER"}).replace('"NUMBER"', number).encode()
    path.write_bytes(b"\n".join([b'%s, "crc32": "%08x"}' % (text[:-1], zlib.crc32(text)), *others]))
    said = failure(capsys, 2, "report", str(run.path))
    assert f"{path}: line 1 has the number {number}, which is not finite: restore the file from a copy" in said


def test_a_step_that_is_no_step_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, steps=1, finished=False)
    assert load_run(run.path).last("step") == 1
    run.append_metrics({"step": 2**60})
    assert f"{run.metrics}: a record has the step {2**60}" in failure(capsys, 2, "report", str(run.path))

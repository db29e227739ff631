"""The picture of a run for READMEs."""

from pathlib import Path

import pytest

from r2vpo.config.records import write_records
from r2vpo.report.picture import build_picture
from tests.unit.report.synthetic_run import accuracy, make_run


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    run = make_run(tmp_path_factory.mktemp("runs"), steps=0, finished=False)
    return build_picture(run.path, run.path / "empty.png").read_bytes()


def test_the_picture_is_a_png(tmp_path: Path, empty: bytes) -> None:
    picture = build_picture(make_run(tmp_path).path, tmp_path / "run.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20], "big") == 1760
    assert len(picture) > 2 * len(empty)


def test_a_run_from_before_a_metric_existed(tmp_path: Path, empty: bytes) -> None:
    run = make_run(tmp_path)
    write_records(run.metrics, [{"step": record["step"], "dual": record["dual"]} for record in run.read_metrics()])
    assert len(build_picture(run.path, tmp_path / "old.png").read_bytes()) > len(empty)


@pytest.mark.filterwarnings("error")
def test_many_difficulties_with_long_names(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=8, finished=False)
    labels = {f"difficulty number {n} of a family with a long name": accuracy(n / 12) for n in range(12)}
    for step in (0, 8):
        run.append_evaluation(
            {"step": step, "rollouts_generated": step, "accuracy": accuracy(0.5), "by_difficulty": labels}
        )
    assert build_picture(run.path, tmp_path / "many.png").stat().st_size > 1000

"""`r2vpo report`: one run is drawn in its folder, several in one file."""

import sys
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from tests.unit.cli.helpers import failure
from tests.unit.report.embedded import embedded
from tests.unit.report.synthetic_run import make_run, synthetic_recipe


def test_several_runs_are_drawn_in_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [
        make_run(tmp_path / "runs", steps=4, finished=False, recipe=synthetic_recipe(name=name)).path for name in "ab"
    ]
    assert main(["report", *map(str, runs)]) == 0
    assert main(["report", *map(str, runs), "--out", "both.html"]) == 0
    assert capsys.readouterr().out.splitlines() == ["report.html", "both.html"]
    for name in ("report.html", "both.html"):
        assert [run["name"] for run in embedded(tmp_path / name)["runs"]] == [run.name for run in runs]
    assert not (runs[0] / "report.html").exists()


def test_one_run_can_be_drawn_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path, steps=2, finished=False), tmp_path / "page.html"
    assert main(["report", str(run.path), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert out.is_file() and not run.report.exists()


def test_only_the_picture_needs_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, steps=2, finished=False)
    for name in ("matplotlib", "matplotlib.axes"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "r2vpo.report.picture", raising=False)
    said = failure(capsys, 2, "report", str(run.path), "--png", str(tmp_path / "a.png"))
    assert "--png needs matplotlib, which is not installed" in said and not run.report.exists()
    assert main(["report", str(run.path)]) == 0 and run.report.is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "RUN/../NAME"], "this run is named twice: name each run once"),
        (["RUN", "OTHER", "--png", "a.png"], "--png draws a single run: name one run, or leave --png out"),
        (["RUN", "--out", "a.htm"], "--out a.htm: name a file that ends in .html"),
        (["RUN", "--out", "no/a.html"], "--out no/a.html: there is no folder no: create it first"),
        (["RUN", "nowhere"], "nowhere: no such run"),
    ],
)
def test_what_cannot_be_drawn(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = (make_run(tmp_path, steps=1, finished=False, recipe=synthetic_recipe(name=n)).path for n in "ab")
    words = {"RUN": str(run), "OTHER": str(other), "NAME": run.name}
    filled = []
    for argument in arguments:
        for word, path in words.items():
            argument = argument.replace(word, path)
        filled.append(argument)
    assert said in failure(capsys, 2, "report", *filled)
    assert not (run / "report.html").exists()

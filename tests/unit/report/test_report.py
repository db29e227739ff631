"""The report: one self-contained page for a finished, an unfinished, an empty and an old run, and for several runs."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from r2vpo.config.folder_lock import working_in
from r2vpo.config.records import write_records
from r2vpo.config.run_events import append_event
from r2vpo.errors import UserError
from r2vpo.report.build import build_overlay, build_report, report_html
from r2vpo.report.charts import CHARTS
from r2vpo.report.data import load_run
from tests.unit.report.embedded import embedded
from tests.unit.report.synthetic_run import accuracy, long_run, make_run, synthetic_recipe

VOID = {"meta", "input"}


class Page(HTMLParser):
    """Checks that elements are balanced, and collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"] or "")
        self.references += [values[name] or "" for name in ("href", "src", "data", "srcset") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> does not close what is open"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.text += data


def read(path: Path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == [], "elements were left open"
    assert len(page.ids) == len(set(page.ids)), "an id is there twice"
    return page


def only(path: Path) -> dict[str, Any]:
    """What a page says of its single run."""
    (run,) = embedded(path)["runs"]
    found: dict[str, Any] = run
    return found


def facts(run: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {name: (value, more) for name, value, more in run["facts"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(make_run(tmp_path_factory.mktemp("runs")).path)


def test_the_page_is_complete(finished: Path) -> None:
    page, run = read(finished), only(finished)
    assert run["state"] == "finished" and not run["going"]
    assert run["result"]["gain"] == {"value": 0.417, "low": 0.35, "high": 0.48, "n": 256}
    assert [label for label, _, _ in run["result"]["by_difficulty"]] == ["one digit", "two digits"]
    assert ["torch", "2.13.0"] in run["versions"] and ["cpus", "2"] in run["versions"]
    assert "accuracy 38.5 % (32.5 to 44.5 %) before, 80.2 %" in page.text, "for a browser without scripts"
    known = {**run["tables"]["steps"]["curves"], **run["tables"]["evaluations"]["curves"]}
    missing = {"reward-parts", "reward-parts-spread", "curriculum", "stored-rows", "stored-share", "stored-versions"}
    missing |= {"critic", "pair-log-probs", "pair-accuracy"}
    for chart in CHARTS:
        names = [name for line in chart.lines for name in known if re.fullmatch(line.metric.replace("*", ".+"), name)]
        assert bool(names) == (chart.key not in missing), chart.key


def test_the_page_needs_nothing_from_outside(finished: Path) -> None:
    page, text = read(finished), finished.read_text(encoding="utf-8")
    assert page.references and all(reference.startswith("#") for reference in page.references)
    for name in [reference[1:] for reference in page.references]:
        assert name in page.ids
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\(", text)


def test_counts_are_consistent_and_name_their_unit(finished: Path) -> None:
    run = only(finished)
    found = facts(run)
    assert found["rollouts generated"] == ("5,120", "3,494 (68.2\u00a0%) used again at least once")
    assert found["uses of rollouts"] == ("10,112", "4,992 (49.4\u00a0%) by later rounds")
    last = {name: curve["y"][-1] for name, curve in run["tables"]["steps"]["curves"].items()}
    assert last["rollouts_generated"] == last["staleness_rows.0"] == 5120
    assert last["rollout_uses"] == 10112 == sum(y for name, y in last.items() if name.startswith("staleness_rows."))
    assert run["said"]["staleness"].startswith("10,112 uses so far: 5,120 of fresh rollouts and 4,992 (49.4 %) of")


def test_v_d_is_compared_with_its_own_target(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    for step, (moved, target) in enumerate([(9.0, None), (0.0, 0.1), (0.3, 0.1), (0.1, 0.2)], start=1):
        record = {"step": step, "round": step // 3, "decision_variance": moved, "decision_variance_target": target}
        run.append_metrics(record)
    said = only(build_report(run.path))["said"]["variance"]
    # The last steps of the two rounds are 0 of 0.1, and 0.1 of 0.2.
    assert "V_d was 0.25 times its target in the median, and above twice the target in 0.0 % of the rounds." in said
    assert f"δ is {run.recipe().objective.delta:g} here." in said


def test_colours_of_both_modes(finished: Path) -> None:
    style = finished.read_text(encoding="utf-8").split("</style>")[0]
    light, dark = re.findall(r":root(?::not\(\.printing\))? \{([^}]*--page:.*?)\}", style, flags=re.DOTALL)
    themes = [dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", theme)) for theme in (light, dark)]
    assert themes[0].keys() == themes[1].keys()
    assert set(re.findall(r"var\((--[\w-]+)\)", style)) <= themes[0].keys()
    for colors in themes:
        for behind in ("--page", "--card", "--soft"):
            for text in ("--ink", "--muted", "--good", "--bad"):
                assert contrast(colors[text], colors[behind]) >= 4.5, (text, behind)
        for number in range(1, 7):
            assert contrast(colors[f"--series-{number}"], colors["--card"]) >= 3


def contrast(first: str, second: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_a_stopped_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, finished=False)
    run.append_evaluation({"step": 0, "rollouts_generated": 0, "accuracy": accuracy(0.4)})
    found = only(build_report(run.path))
    assert found["state"] == "stopped: step 3 of 160" and not found["going"]
    assert (found["result"]["after"], found["result"]["gain"], found["result"]["after_name"]) == (None, None, "now")


def test_what_was_not_evaluated_yet_has_no_accuracy_by_difficulty(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, finished=False)
    by = {"easy": accuracy(0.6), "hard": accuracy(0.2)}
    run.append_evaluation({"step": 0, "rollouts_generated": 0, "accuracy": accuracy(0.4), "by_difficulty": by})
    result = only(build_report(run.path))["result"]
    assert [(label, before["value"], now) for label, before, now in result["by_difficulty"]] == [
        ("easy", 0.6, None),
        ("hard", 0.2, None),
    ]


def test_a_running_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, finished=False)
    with working_in(run.path, instead="wait"):
        found = only(build_report(run.path))
    assert found["state"] == "running: step 3 of 160" and found["going"]


def test_an_unfinished_run_has_a_paired_gain(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=64)
    run.summary.unlink()
    gain = only(build_report(run.path))["result"]["gain"]
    assert gain["value"] == 0.75 and 0.68 < gain["low"] < 0.75 < gain["high"] < 0.82


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=64)
    run.summary.unlink()
    for file in (run.metrics, run.evaluations):
        file.write_bytes(file.read_bytes()[:-40])
    tables = only(build_report(run.path))["tables"]
    assert tables["steps"]["x"]["step"][-1] == 63
    assert tables["evaluations"]["x"]["step"] == [0, 32]


def test_a_folder_in_the_place_of_the_report_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1, finished=False)
    run.report.mkdir()
    with pytest.raises(UserError, match=r"report.html: this is a folder, and a file"):
        build_report(run.path)


def test_a_run_that_has_just_started(tmp_path: Path) -> None:
    found = only(build_report(make_run(tmp_path, steps=0, finished=False).path))
    assert found["tables"]["steps"]["curves"] == {} == found["tables"]["evaluations"]["curves"]
    assert found["state"] == "stopped: step 0 of 160"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"source": "dataset", "path": "some/where/mine.jsonl"}, "mine.jsonl"),
        ({"source": "habit", "format": "chain"}, "habit, format chain"),
        ({"source": "instructions"}, "instructions"),
    ],
)
def test_the_page_names_the_problems_of_every_source(data: dict[str, str], shown: str, tmp_path: Path) -> None:
    recipe = synthetic_recipe(data=data, reward={"name": "format", "layout": "think_answer"})
    assert shown in only(build_report(make_run(tmp_path, steps=0, finished=False, recipe=recipe).path))["lede"]


def test_records_with_gaps(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    run.append_metrics({"step": 1, "decision_variance": 0.0, "reward": None, "staleness_rows": [0, 0], "dual": 1.0})
    run.append_metrics({"step": 2, "decision_variance": 0.5, "step_scale": 1.0, "rollouts_generated": 0})
    asked = {"prompt": [{"role": "user", "content": "hello"}], "completion": None}
    evaluation = {"accuracy": {"value": 0.5}, "by_difficulty": {"a": {"value": None}}, "completions": [asked]}
    run.append_evaluation({"step": 2} | evaluation)
    data = embedded(build_report(run.path))
    assert data["completions"]["problems"] == [["hello", "", ""]]
    assert data["runs"][0]["result"]["after"] == {"value": 0.5, "low": None, "high": None, "n": None}


def test_a_run_from_before_its_newest_metrics_existed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    newer = ("decision_variance", "rollouts_used_again", "reward_std_", "completion_", "held_out")
    write_records(run.metrics, [{k: v for k, v in r.items() if not k.startswith(newer)} for r in run.read_metrics()])
    evaluations = [{k: v for k, v in r.items() if k not in ("correct", "data")} for r in run.read_evaluations()]
    write_records(run.evaluations, evaluations)
    found = only(build_report(run.path))
    assert facts(found)["rollouts generated"] == ("5,120", "")
    assert "variance" not in found["said"]


def test_events_and_warnings(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=32)
    append_event(run.path, "started", "r2vpo 0.1.0", step=0)
    append_event(run.path, "resumed", "r2vpo 0.1.0", step=16)
    run.write_summary((run.read_summary() or {}) | {"rounds_without_signal": 3, "weights_changed": False})
    notes = only(build_report(run.path))["notes"]
    assert [(note["kind"], note["step"]) for note in notes[:2]] == [("started", 0), ("resumed", 16)]
    texts = [note["text"] for note in notes[2:]]
    assert texts[0].startswith("3 rounds had no signal") and texts[1] == "No step has changed the weights."


def test_a_long_run_stays_below_three_megabytes(tmp_path: Path) -> None:
    run = long_run(tmp_path)
    assert run.evaluations.stat().st_size > 8_000_000
    page = build_report(run.path)
    assert page.stat().st_size < 3_000_000
    data = embedded(page)
    reward = data["runs"][0]["tables"]["steps"]["curves"]["entropy"]
    assert len(reward["at"]) == 5000 and "means" not in reward, "short enough to be whole"
    evaluations = data["completions"]["runs"][0]
    kept = [e for e in evaluations if e["made"] is not None]
    assert len(evaluations) == 79 and kept[0] is evaluations[0] and kept[-1] is evaluations[-1]
    assert 10 <= len(kept) < 79 and all(len(e["correct"]) == 200 for e in evaluations)


def test_a_very_long_run_is_thinned(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    write_records(run.metrics, [{"step": n, "dual": 1.0 + n % 7, "seconds": n / 2} for n in range(1, 30_001)])
    page = build_report(run.path)
    assert page.stat().st_size < 1_000_000
    assert "means" in only(page)["tables"]["steps"]["curves"]["dual"]


def test_what_a_run_says_cannot_end_the_script(tmp_path: Path) -> None:
    evil = '</script><script>alert("x")</script> <!-- & \ud83d \x00'
    run = make_run(tmp_path, recipe=synthetic_recipe(model={"name": "</script><b>"}), steps=8)
    sample = {"prompt": evil, "completion": evil, "answer": evil, "difficulty": evil}
    run.append_evaluation(
        {"step": 9, "accuracy": accuracy(0.5), "by_difficulty": {evil: accuracy(0.5)}, "completions": [sample]}
    )
    page = build_report(run.path)
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script>") == 3
    shown = evil.replace("\ud83d", "?")
    assert embedded(page)["completions"]["problems"][-1] == [shown, shown, shown]


def test_building_twice_gives_the_same_page(finished: Path) -> None:
    first = finished.read_bytes()
    assert build_report(finished.parent).read_bytes() == first
    assert report_html([finished.parent]).encode() == first


def test_accuracy_comes_from_the_summary_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=32)
    run.append_evaluation({"step": 33, "accuracy": accuracy(0.99)})
    data = load_run(run.path)
    assert data.after == data.summary["accuracy_after"]
    assert data.accuracy().value[-1] == 0.99


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run"):
        build_report(tmp_path)


def test_runs_of_all_kinds_in_one_page(tmp_path: Path) -> None:
    whole = make_run(tmp_path / "a")
    other = make_run(tmp_path / "b", steps=64, recipe=synthetic_recipe(seed=4, name="other"))
    empty = make_run(tmp_path / "c", steps=0, finished=False, recipe=synthetic_recipe(name="empty"))
    out = tmp_path / "overlay.html"
    assert build_overlay([whole.path, other.path, empty.path], out) == out
    data = embedded(out)
    assert data["title"] == "3 runs"
    assert [run["name"] for run in data["runs"]] == [run.path.name for run in (whole, other, empty)]
    assert dict(data["differences"]) == {"name": ["synthetic", "other", "empty"], "seed": ["3", "4", "3"]}
    assert [len(run["tables"]["steps"]["x"]["step"]) for run in data["runs"]] == [160, 64, 0]
    first, second, third = data["compared"]
    assert first is None and third is None
    assert second["value"] == 0.0 and second["low"] < 0 < second["high"] and second["n"] == 256


def test_runs_on_other_problems_are_not_paired(tmp_path: Path) -> None:
    first, second = (make_run(tmp_path / name, steps=32) for name in "ab")
    records = [record | {"data": {"train": "a", "held_out": "other"}} for record in second.read_evaluations()]
    write_records(second.evaluations, records)
    assert embedded(build_overlay([first.path, second.path], tmp_path / "o.html"))["compared"] == [None, None]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, steps=0, finished=False).path for name in "ab"]
    moved = [run.rename(run.with_name("same")) for run in runs]
    names = [run["name"] for run in embedded(report_html(moved))["runs"]]
    assert names == [str(path) for path in moved]

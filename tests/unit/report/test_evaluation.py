"""What an evaluation's report embeds: any text, without ending the page's script."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from r2vpo.evaluation import Answered, Completion, preference
from r2vpo.evaluation.folder import make_folder
from r2vpo.evaluation.result import summarise
from r2vpo.evaluation.schema import EvaluationConfig, load_suite
from r2vpo.intervals import difference_interval
from r2vpo.report.completions import shared_beginning
from r2vpo.report.evaluation import build_evaluation_report
from tests.integration.evaluation import write_suite

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 \" ' {{ 7 * 7 }}"


def test_a_completion_cannot_end_the_script_or_be_markup(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path), ["sampling.k=1"])
    config = EvaluationConfig(model=HOSTILE, weights="w", suite=suite)
    made = Completion(HOSTILE, None, 1.0, True, 3, False, 0.5)
    problems = [Answered(n, f"{n} {HOSTILE}", HOSTILE, HOSTILE, "made", made, [made]) for n in range(3)]
    folder = make_folder(config, tmp_path)
    folder.append(problems)
    folder.write_summary(summarise(config, problems, votes=False))
    page = build_evaluation_report(folder).read_text()
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "alert(1)</script>" not in page
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    held = json.loads(data[1])
    assert held["problems"][1]["q"] == f"1 {HOSTILE}" and held["problems"][1]["a"][0][0] == HOSTILE


@pytest.mark.parametrize(("count", "ends"), [(4, False), (40, True)])
def test_a_report_with_a_baseline_has_intervals_from_ten_problems_on(tmp_path: Path, count: int, ends: bool) -> None:
    suite = load_suite(write_suite(tmp_path), ["sampling.k=2"])
    config = EvaluationConfig(model="m", weights="w", suite=suite)
    right, wrong = (Completion("t", None, score, score == 1, 3, True, 0.5) for score in (1.0, 0.0))
    problems = [Answered(n, f"{n}", "q", "a", f"made {n % 2}", right, [right, wrong]) for n in range(count)]
    folder = make_folder(config, tmp_path)
    folder.append(problems)
    summary = summarise(config, problems, votes=False)
    found = preference(["win"] * count).to_json() | {
        "model": "b",
        "win_by": "score",
        "accuracy": 0.0,
        "outcomes": ["win"] * count,
    }
    gain = difference_interval([False] * count, [True] * count).to_json()
    folder.write_summary(summary | {"baseline": found | {"accuracy_gain": gain}})
    page = build_evaluation_report(folder).read_text()
    assert "gain +100.0 points" in page and ("fewer than 10 problems carry no interval" in page) is not ends
    assert ("intervals are 95 %" in page) is ends and ("+100.0 points (" in page) is ends


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        (["a\nb\nc 1", "a\nb\nc 2"], "a\nb\n"),
        (["a\nb", "a\nb\nc"], "a\n"),
        (["ab", "ac"], ""),
        (["one\ntwo"], ""),
        (["x\n1", "y\n1"], ""),
    ],
)
def test_what_all_prompts_begin_with(prompts: list[str], shared: str) -> None:
    assert shared_beginning(prompts) == shared
    assert shared_beginning(prompts[::-1]) == shared

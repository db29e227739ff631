"""`r2vpo rewards check`: what a user sees of a reward on their own data, and its exit codes."""

import json
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from tests.unit.cli.helpers import failure


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return lines(
        tmp_path / "data.jsonl",
        {"prompt": "First?", "answer": "C"},
        {"prompt": [{"role": "user", "content": "Second?"}], "answer": "(D)"},
    )


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    assert main(["rewards", "check", *map(str, arguments)]) == code
    said = capsys.readouterr()
    assert not said.err
    return said.out


def test_the_answers_of_a_data_file_are_tried(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = check(capsys, 0, data, "--reward", "choice")
    assert "all 2 answers can be used by the reward choice" in out
    assert "right  row 2: gold '(D)', read 'D', score 1, expected 1  'The answer is (D).'" in out
    assert r"right  row 2: gold '(D)', read 'D', score 1, expected 1  '\\boxed{(D)}'" in out
    assert "4 of them with score 1, 4 right and 0 wrong of 4 expected (100.0 %)" in out


def test_answers_that_cannot_be_used_end_with_1(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = check(capsys, 1, data, "--reward", "choice", "--set", "reward.letters=ABC")
    assert "1 of 2 answers cannot be used, the first in row 2: the answer '(D)' is none of the letters ABC" in out
    assert "2 right and 0 wrong of 2 expected" in out
    # The reward exact takes every text.
    assert "all 2 answers" in check(capsys, 0, data, "--reward", "exact")


def test_given_completions_are_judged_and_wrong_ones_come_first(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = lines(
        tmp_path / "answers.jsonl",
        {"row": 1, "completion": "The answer is C", "score": 1},
        {"prompt": "Second?", "completion": "<think>D</think>The answer is A", "score": 1},
        {"prompt": [{"role": "user", "content": "Second?"}], "completion": [{"role": "assistant", "content": "D"}]},
        {"row": 1, "completion": "None of them \ud83d", "score": 0.0},
    )
    wanted = tmp_path / "all.json"
    out = check(capsys, 1, data, "--reward", "choice", "--answers", answers, "--json", wanted, "--show", 3)
    shown = [line for line in out.splitlines() if " row " in line]
    assert shown[0].startswith("wrong  row 2: gold '(D)', read 'A', score 0, expected 1")
    assert shown[1].startswith("right  row 1: gold 'C', read 'C', score 1")
    assert shown[2].startswith("       row 2: gold '(D)', read 'D', score 1  'D'")
    assert "... 1 more: raise --show" in out
    assert "2 right and 1 wrong of 3 expected (66.7 %)" in out
    written = json.loads(wanted.read_text())
    assert (written["right"], written["wrong"], written["rows"]) == (2, 1, 2)
    assert [verdict["score"] for verdict in written["verdicts"]] == [1.0, 0.0, 1.0, 0.0]
    assert [verdict["wrong"] for verdict in written["verdicts"]] == [False, True, False, False]


def test_a_recipe_brings_its_data_and_its_reward(capsys: pytest.CaptureFixture[str]) -> None:
    out = check(capsys, 0, "quickstart", "--show", 0, "--set", "data.train_size=40", "data.held_out_size=10")
    assert "by the reward exact" in out and "row" not in out.partition("\n")[2].partition("verdicts")[0].replace(
        "more", ""
    )
    out = check(capsys, 0, "instruction", "--set", "data.train_size=20", "data.held_out_size=10")
    assert "all 30 answers can be used by the reward constraints" in out
    assert out.endswith(
        "0 verdicts: nothing shows what this reward makes of a completion; give some with --answers FILE\n"
    )


def test_a_reward_that_fails_is_shown_by_row(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_reward_for_check.py").write_text(
        "def own(completions, answer, **columns):\n"
        "    return [float(len(text) // (len(text) - 1)) for text in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    answers = lines(tmp_path / "answers.jsonl", {"row": 1, "completion": "CC"}, {"row": 2, "completion": "D"})
    out = check(capsys, 1, data, "--reward", "own_reward_for_check:own", "--answers", answers)
    assert "wrong  row 2: gold '(D)', read nothing, ZeroDivisionError: " in out
    assert "       row 1: gold 'C', read nothing, score 2  'CC'" in out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("__import__('sys').exit(0)", "SystemExit: 0"),
        ("__import__('itertools').repeat(1.0)", "ValueError: it returns 2 or more scores for 1 completions"),
        ("['good'] * len(completions)", "ValueError: it returns 'good'"),
        ("1.0", "TypeError: it returns 1.0 for 1 completions"),
    ],
)
def test_a_reward_that_returns_no_scores_is_shown_by_row(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    said: str,
) -> None:
    name = f"scoreless_{len(said)}"
    (tmp_path / f"{name}.py").write_text(f"def own(completions, **columns):\n    return {body}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    answers = lines(tmp_path / "answers.jsonl", {"row": 1, "completion": "CC"}, {"row": 2, "completion": "D"})
    out = check(capsys, 1, data, "--reward", f"{name}:own", "--answers", answers)
    assert out.count(f"read nothing, {said}") == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"row": 3, "completion": "C"}, "line 1 has 'row' = 3: the data has rows 1 to 2"),
        ({"row": True, "completion": "C"}, "line 1 has 'row' = True"),
        ({"completion": "C"}, "line 1 has neither 'row' nor 'prompt'"),
        ({"prompt": "Third?", "completion": "C"}, "line 1: no row of the data has this 'prompt'"),
        ({"row": 1}, "line 1 has no text in 'completion'"),
        ({"row": 1, "completion": "C", "score": "1"}, "line 1 has 'score' = '1': write the number"),
        ({"row": 1, "completion": "C", "score": 10**400}, "line 1 has 'score' = 1000"),
        ([1], "line 1 is not a JSON object"),
    ],
)
def test_bad_answers_are_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: object, said: str
) -> None:
    answers = lines(tmp_path / "answers.jsonl", answer)
    assert said in failure(capsys, 2, "rewards", "check", str(data), "--reward", "choice", "--answers", str(answers))


def test_bad_arguments_are_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: object) -> str:
        return failure(capsys, 2, "rewards", "check", *map(str, arguments))

    assert "is a data file: name the reward with --reward" in said(data)
    assert "reward.name is 'chioce'; use one of exact" in said(data, "--reward", "chioce")
    assert "cannot read the data file" in said(tmp_path / "none.jsonl", "--reward", "choice")
    assert "no such recipe; did you mean" in said("quikstart")
    assert "is a recipe: leave it out, or use --set reward.name=math" in said("quickstart", "--reward", "math")
    assert "is not of a known type" in said(data, "--reward", "choice", "--answers", tmp_path / "a.txt")
    assert "ACTION" in failure(capsys, 2, "rewards")
    assert "'nums'" in said(data, "--reward", "countdown", "--set", "data.schema=countdown")

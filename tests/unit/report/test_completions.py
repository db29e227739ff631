"""Completions on the page: each prompt once, long texts cut in the middle, hostile ones unchanged."""

from pathlib import Path
from typing import Any

import pytest

from r2vpo.report.completions import completions, text_of
from r2vpo.report.data import RunData, load_run
from tests.unit.report.synthetic_run import make_run


def run(folder: Path, evaluations: list[list[dict[str, Any]]]) -> RunData:
    made = make_run(folder, steps=0, finished=False)
    for step, shown in enumerate(evaluations):
        made.append_evaluation({"step": step, "correct": [True, False], "completions": shown})
    return load_run(made.path)


def one(prompt: Any, completion: str = "x", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, "answer": "1", "correct": True, "score": 1.0, **more}


def test_prompts_and_their_shared_shots_are_there_once(tmp_path: Path) -> None:
    shots = "Question: 1 + 1 = ?\nAnswer: 2\n\nQuestion: 2 + 2 = ?\nAnswer: 4\n\n"
    prompts = [f"{shots}Question: {number}?" for number in (3, 4)]
    found = completions([run(tmp_path, [[one(prompt) for prompt in prompts]] * 3)])
    assert found["shared"] == shots
    assert found["problems"] == [["Question: 3?", "1", ""], ["Question: 4?", "1", ""]]
    assert [e["step"] for e in found["runs"][0]] == [0, 1, 2]
    assert all([made[0] for made in e["made"]] == [0, 1] and e["correct"] == "10" for e in found["runs"][0])


def test_a_short_beginning_is_not_taken_out(tmp_path: Path) -> None:
    found = completions([run(tmp_path, [[one("Solve:\n3?"), one("Solve:\n4?")]])])
    assert found["shared"] == "" and found["problems"][0][0] == "Solve:\n3?"


def test_the_same_problem_of_two_runs_is_one(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, [[one("3?"), one("4?")]]) for name in "ab"]
    found = completions(runs)
    assert len(found["problems"]) == 2 and len(found["runs"]) == 2


@pytest.mark.parametrize(("most", "kept"), [(None, range(9)), (2, (0, 8)), (3, (0, 4, 8)), (20, range(9))])
def test_the_first_and_the_last_evaluation_are_always_kept(most: int | None, kept: Any, tmp_path: Path) -> None:
    found = completions([run(tmp_path, [[one("3?")]] * 9)], most=most)["runs"][0]
    assert [e["step"] for e in found if e["made"] is not None] == list(kept)
    assert all(e["correct"] == "10" for e in found)


def test_a_long_text_is_cut_in_its_middle_and_says_so(tmp_path: Path) -> None:
    text = "a" * 30_000 + "b" * 30_000
    shown = completions([run(tmp_path, [[one("3?", text)]])])["runs"][0][0]["made"][0][1]
    assert shown == f"{'a' * 10_000}\n[… 40,000 characters are left out here …]\n{'b' * 10_000}"


def test_messages_are_shown_with_their_roles() -> None:
    question = {"role": "user", "content": "3?"}
    assert text_of([question]) == "3?"
    assert text_of([{"role": "system", "content": "Be brief."}, question]) == "[system] Be brief.\n\n[user] 3?"
    assert text_of([{"role": "user", "content": [{"type": "text", "content": "3?"}]}]) == "3?"
    assert (text_of(None), text_of(4)) == ("", "4")

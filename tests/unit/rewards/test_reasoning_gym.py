"""Every family of reasoning-gym: its own answers are right, and no answer of a model is run."""

import json
import os
import time

import pytest
import reasoning_gym
from reasoning_gym.factory import DATASETS

from r2vpo.data.rows import PromptRow
from r2vpo.rewards import load_reward
from r2vpo.rewards.reasoning_gym_own import OWN, SYMBOLIC

FAMILIES = sorted(set(DATASETS) - {"composite"})
# Problems without one right answer in their entry; what they take for right is not tested here.
OPEN = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}


@pytest.fixture(scope="module")
def reward():
    return load_reward("reasoning_gym")


def problem(family):
    entry = reasoning_gym.create_dataset(family, size=2, seed=1)[0]
    known = {"family": family, "question": entry["question"], "entry": entry["metadata"]}
    known["has_answer"] = entry["answer"] is not None
    return str(entry["answer"] or ""), json.dumps(known, default=str)


def scores(reward, completions, answer, metadata):
    count = len(completions)
    return reward(prompts=["p"] * count, completions=completions, answer=[answer] * count, metadata=[metadata] * count)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_runs_what_a_model_wrote(family, reward, tmp_path):
    mark = tmp_path / "mark"
    hostile = [
        f"__import__('os').system('touch {mark}')",
        f"[open('{mark}', 'w')]",
        f"[x for x in [print(open('{mark}', 'w'))]]",
        "9**9**9**9",
        "(lambda: [0 for _ in iter(int, 1)])()",
        "nan",
        "[NaN, NaN, NaN, NaN, NaN, NaN, NaN, NaN]",
        "1e999999999",
        "9" * 5000,
        "(" * 3000,
        "[" * 3000,
        "",
    ]
    answer, metadata = problem(family)
    scores(reward, [""], answer, metadata)  # the family is loaded
    start = time.perf_counter()
    got = scores(reward, hostile, answer, metadata)
    assert max(got) <= 0.2, [(text[:40], score) for text, score in zip(hostile, got, strict=True)]
    assert got[3] == 0.0 or family not in OWN.keys() | SYMBOLIC
    assert not os.path.exists(mark)
    assert time.perf_counter() - start < 5.0
    if family not in OPEN:
        assert scores(reward, [answer], answer, metadata) == [1.0]
        assert scores(reward, [f"<think>no</think><answer>{answer}</answer>"], answer, metadata) == [1.0]


@pytest.mark.parametrize(
    ("family", "entry", "answer", "given"),
    [
        (
            "binary_matrix",
            {},
            "0 1\n1 0",
            {"0 1\n1 0": 1.0, "[[0, 1], [1, 0]]": 0.1, "[[0, 1], [1, 1]]": 0.0, "0 1": 0.0},
        ),
        ("spiral_matrix", {}, "1 2 3", {"1 2 3": 1.0, "[1, 2, 3]": 0.1, "(1, 2, 3)": 0.1, "[1, 2]": 0.0}),
        ("string_insertion", {}, "ABC", {"ABC": 1.0, "['A', 'B', 'C']": 0.1, "['A', 'C', 'B']": 0.0, "abc": 0.0}),
        (
            "n_queens",
            {"valid_answers": ["Q _\n_ Q"]},
            "Q _\n_ Q",
            {"Q _\n_ Q": 1.0, '[["Q", "_"], ["_", "Q"]]': 0.5, '[["_", "Q"], ["Q", "_"]]': 0.0},
        ),
        (
            "countdown",
            {"numbers": [3, 5, 2], "target": 13},
            "3*5 - 2",
            {"3*5 - 2": 1.0, "5*3-2 = 13": 1.0, "3*5 + 2": 0.05, "13": 0.05, "15 - 2": 0.05, "Max(13)": 0.0, "": 0.0},
        ),
        (
            "puzzle24",
            {"numbers": [8, 3, 8, 3]},
            "8/(3 - 8/3)",
            {"8/(3 - 8/3)": 1.0, "8*3 + 8 - 8": 0.01, "6*4 + 1 - 1": 0.01, "24": 0.01, "8**3": 0.0},
        ),
        (
            "bitwise_arithmetic",
            {"problem": "0x5 + 0x5"},
            "0xa",
            {"0xa": 1.0, "10": 1.0, "0xA": 1.0, "0xb": 0.0, "0x5 + 0x5": 0.0},
        ),
        ("game_of_life_halting", {}, "False", {"False": 1.0, "True": 0.0, "perhaps": 0.0}),
        (
            "polynomial_multiplication",
            {},
            "x**2 + 2*x + 1",
            {"x**2 + 2*x + 1": 1.0, "1 + x*2 + x**2": 1.0, "(x + 1)**2": 0.0, "x**2": 0.0, "x**2 + 2x + 1": 0.0},
        ),
        (
            "simple_integration",
            {"variable": "x", "integrand": "2*x"},
            "x**2 + C",
            {
                "x**2 + C": 1.0,
                "x**2 + 7": 1.0,
                "x**2 + x": 0.0,
                "2*x**2/2 - 1": 1.0,
                "x**x.real": 0.0,
                "x.subs(1, 2)": 0.0,
            },
        ),
        (
            "intermediate_integration",
            {"variable": "x", "integrand": "2*x*cos(x**2)"},
            "sin(x**2) + C",
            {"sin(x**2) + C": 1.0, "cos(x**2) + C": 0.0, "eval('sin(x**2)')": 0.0},
        ),
        (
            "number_sorting",
            {"direction": "ascending"},
            "['1', '20']",
            {"['1', '20']": 1.0, "[NaN, NaN]": 0.0, "['20', '1']": 0.0},
        ),
    ],
)
def test_families_that_are_scored_by_us_or_were_fooled(family, entry, answer, given, reward):
    metadata = json.dumps({"family": family, "question": "q", "entry": entry, "has_answer": True})
    assert dict(zip(given, scores(reward, list(given), answer, metadata), strict=True)) == given


def test_answers_that_make_a_scorer_fail_score_nothing(reward):
    entry = {"task": "count_days"}
    metadata = json.dumps({"family": "calendar_arithmetic", "question": "q", "entry": entry})
    assert scores(reward, ["9" * 400, "7"], "7", metadata) == [0.0, 1.0]


def test_rows_without_a_family_have_no_score_and_are_named(reward):
    assert scores(reward, ["4"], "4", "{}") == [None]
    assert scores(
        reward, ["+04.0", " 4\n9"], "4", json.dumps({"family": "chain_sum", "question": "q", "entry": {}})
    ) == [1.0, 1.0]
    typo = {"family": "chain_sun", "question": "q", "entry": {}}
    assert scores(reward, ["4"], "4", json.dumps(typo)) == [None]
    (reason,) = reward.unreadable([PromptRow("p", "4", metadata=typo)])
    assert reason == "reasoning-gym has no family 'chain_sun': correct the name in the metadata"
    said = reward.unreadable(
        [PromptRow("p", "4"), PromptRow("p", "4", metadata=dict(family="ab", question="q", entry={}))]
    )
    assert said == ["the metadata names no reasoning-gym family: use 'exact' or 'numeric' for such data", None]


def test_no_text_can_be_compiled_while_a_family_scores():
    # In a process of its own, since the hook stays for good.
    import subprocess
    import sys

    program = (
        "import r2vpo.rewards.reasoning_gym_scorer as scorer\n"
        "scorer._scorer = lambda family: (lambda answer, entry: eval(answer))\n"
        "try:\n    print(scorer.score_family('new_in_a_later_version', '1', {}))\n"
        "except PermissionError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "compile is refused while an answer is scored", done.stderr

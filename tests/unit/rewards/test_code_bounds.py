"""The reward `code`: programs as written, data that have no place in UTF-8, and output that is too much."""

import json
import logging

import psutil
import pytest

from r2vpo.rewards import load_reward
from r2vpo.rewards.code_scorer import _same_words
from r2vpo.sandbox import Sandbox, Unusable

ECHO = "import sys\nfor line in sys.stdin: print(line, end='')\n"


@pytest.fixture(scope="module")
def reward():
    return load_reward({"name": "code", "workers": 1, "isolation": "process"})


def scores(reward, completions, **known):
    rows = [json.dumps({"tests": [], **known})] * len(completions)
    return reward(prompts=completions, completions=completions, metadata=rows)


@pytest.mark.parametrize(
    ("program", "test", "score"),
    [
        ("def f(a: List[int]): return a", "assert f([1]) == [1]", 0),
        ("from typing import List\ndef f(a: List[int]): return a", "assert f([1]) == [1]", 1),
        ("x: Foo = 3\ndef f(): return x", "assert f() == 3", 0),
        ("import numpy\ndef f(a: np.ndarray): return a", "assert f(1) == 1", 0),
        ("def f(a: int): return f.__annotations__['a'] is int", "assert f(1)", 1),
        ("import inspect\ndef g(a: int): pass\ndef f(): return inspect.signature(g).parameters['a'].annotation is int",
         "assert f()", 1),
        ("class P: pass\ndef f(a: P): return f.__annotations__['a'] is P", "assert f(1)", 1),
        ("from __future__ import annotations\ndef f(a: Foo): return f.__annotations__['a'] == 'Foo'", "assert f(1)", 1),
        ("def f(): return 1", "def g(a: Foo): pass\nassert f() == 1", 0),
    ],
)  # fmt: skip
def test_annotations_are_evaluated_as_they_are_written(reward, program, test, score):
    assert scores(reward, [program], tests=[test]) == [score]


def test_annotations_of_scripts_and_of_a_setup_too(reward):
    programs = [
        "def f(a: Foo): pass\nprint(7)",
        "def f(a: int): pass\nprint(7 if f.__annotations__['a'] is int else 8)",
    ]
    assert scores(reward, programs, inputs=[""], outputs=["7"]) == [0, 1]
    known = {"setup": "def g(a: int): return g.__annotations__['a'] is int", "tests": ["assert g(1) and f() == 1"]}
    assert scores(reward, ["def f(): return 1"], **known) == [1]


def test_what_tests_call_is_what_is_looked_for(reward):
    usage = "```python\ndef double(x):\n    return 2 * x\n```\nFor instance:\n```python\nprint(double(2))\n```"
    future = "from __future__ import annotations\ndef double(x: Foo):\n    return 2 * x\n"
    assert scores(reward, [usage, future], tests=["assert double(3) == 6"]) == [1, 1]
    known = {"prefix": "import math\ndef double(x):\n", "entry_point": "double", "tests": ["assert double(3) == 6"]}
    assert scores(reward, [usage, future, f"[BEGIN]\n{future}[DONE]"], **known) == [1, 1, 1]


def test_half_a_surrogate_pair_ends_nothing(reward, caplog):
    honest = "def f(x): return x"
    with caplog.at_level(logging.WARNING):
        assert scores(reward, [ECHO, "print(1)"], inputs=["a \ud800\n"], outputs=["a \ud800"]) == [1, 0]
        assert scores(reward, [ECHO], inputs=["1", "\udfff"], outputs=["1", "2"]) == [0]
        assert scores(reward, [honest, f"{honest}\n# \ud800"], tests=["assert f(1) == 1"]) == [1, 0]
        assert scores(reward, [honest], tests=["assert f('\ud800') == 1"]) == [0]
        assert scores(reward, ["def f(x): return chr(0xd800)"], tests=["assert f(1) == chr(0xd800)"]) == [1]
    assert scores(reward, [ECHO], inputs=["\u00e4 \u2028 \U0001f600"], outputs=["\u00e4 \u2028 \U0001f600"]) == [1]


def test_output_is_bounded_before_it_is_read(isolation):
    reward = load_reward({"name": "code", "workers": 1, "isolation": isolation})
    floods = [
        "import os\nfor _ in range(256): os.write(1, b'\\n' * (1 << 16))",
        "print('7' * (16 << 20))",
        "print('7' + ' ' * (1 << 20))",
    ]
    assert scores(reward, [*floods, "print('\\n\\n  7 \\n\\n')"], inputs=[""], outputs=["7"]) == [0, 0, 0, 1]
    workers = [p for p in psutil.Process().children() if "rewards.worker" in " ".join(p.cmdline())]
    assert workers and all(worker.memory_info().rss < 200 << 20 for worker in workers)


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        (b"1 2\n3", b"1  2 \n3\n\n", True),
        (b"\n1\n", b"1", True),
        (b"1\n2", b"1 2", False),
        (b"1\n\n2", b"1\n2", False),
        (b"1", b"1\n2", False),
        (b"", b"\n", True),
        (b"\xff", "\ufffd".encode(), False),
        (b"\xff", b"\xff", True),
    ],
)
def test_words_are_compared_line_by_line(said, wanted, same):
    assert _same_words(said, wanted) is same


def test_a_test_that_ends_its_own_process_is_wrong_itself(reward, caplog):
    with caplog.at_level(logging.WARNING):
        assert scores(reward, ["def f(): return 1"], tests=["f()\nimport os\nos._exit(0)"]) == [0]
    assert [record.args[2] for record in caplog.records] == ["test"]


def test_a_program_that_ends_every_sandbox_scores_zero_and_the_others_stand(monkeypatch):
    from r2vpo.rewards import code_scorer
    from r2vpo.rewards.worker import NoScore

    settings = ["process", 1 << 30, [], False]
    ended = []

    class Ending(Sandbox):
        def run(self, *_, **__):
            ended.append(1)
            self.close()
            raise Unusable("it has ended")

    monkeypatch.setattr(code_scorer, "Sandbox", Ending)
    monkeypatch.setattr(code_scorer, "_sandboxes", {})
    tests = [[], [{"setup": "", "given": "", "test": "f()", "entry_point": "f", "solution": ""}], ""]
    with pytest.raises(NoScore) as error:
        code_scorer.score_program("def f(): pass", ["", ["f"]], tests, False, 1.0, settings)
    assert error.value.reason == "crash" and len(ended) == 2
    monkeypatch.setattr(code_scorer, "Sandbox", Sandbox)
    assert code_scorer.score_program("def f(): pass", ["", ["f"]], tests, False, 1.0, settings) == 1.0
    for sandbox in code_scorer._sandboxes.values():
        sandbox.close()

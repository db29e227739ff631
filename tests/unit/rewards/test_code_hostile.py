"""Programs that want the reward without the work, or do harm: each scores 0, and what is around stays as it was."""

import gc
import json
import logging
import os
import time
from contextlib import suppress

import psutil
import pytest

from r2vpo.rewards import load_reward

ROW = json.dumps({"tests": ["assert double(3) == 6", "assert double(5) == 10"], "task_id": "t/1"})
HONEST = "def double(x):\n    return 2 * x\n"
SECRET = "a-secret-of-the-parent"

# What a program could reach if the tests were in its process, or its process among the user's.
REACHES = {
    "the tests in memory": """
import gc, sys
def found(x, depth=3):
    if isinstance(x, str):
        return "double(" in x and "assert" in x and "found" not in x
    if depth and isinstance(x, dict):
        return any(found(v, depth - 1) for v in x.values())
    if depth and isinstance(x, (list, tuple)):
        return any(found(v, depth - 1) for v in x)
    return False
def reached():
    frame = sys._getframe()
    while frame:
        if found(dict(frame.f_locals)):
            return True
        frame = frame.f_back
    return any(found(x) for x in gc.get_objects() if x is not ROWS)
ROWS = None
""",
    "the parent's environment": f"""
import os
def reached():
    for name in os.listdir("/proc"):
        try:
            if {SECRET[::-1]!r}[::-1].encode() in open(f"/proc/{{name}}/environ", "rb").read():
                return True
        except OSError:
            pass
    return {SECRET[::-1]!r}[::-1] in str(os.environ)
""",
    "another process's memory": """
import os
def reached():
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                os.close(os.open(f"/proc/{name}/mem", os.O_RDONLY))
                return True
            except OSError:
                pass
    return False
""",
    "a file of the user": "def reached():\n    return open({victim!r}).read() == 'mine'\n",
    "writing outside": "def reached():\n    return open({made!r}, 'w').write('x') == 1\n",
    "deleting outside": "import os\ndef reached():\n    return os.remove({victim!r}) is None\n",
    "renaming outside": "import os\ndef reached():\n    return os.rename({victim!r}, {made!r}) is None\n",
    "making a folder outside": "import os\ndef reached():\n    return os.mkdir({made!r}) is None\n",
    "a socket": "import socket\ndef reached():\n    return bool(socket.socket(socket.AF_INET, socket.SOCK_STREAM))\n",
    "a local socket": "import socket\ndef reached():\n    return bool(socket.socket(socket.AF_UNIX))\n",
    "a process": "import os\ndef reached():\n    return os.fork() >= 0\n",
    "a program": "import subprocess\ndef reached():\n    return subprocess.run(['/bin/true']).returncode == 0\n",
    "killing its parent": "import os\ndef reached():\n    return os.kill(os.getppid(), 9) is None\n",
    "killing everybody": "import os\ndef reached():\n    return os.kill(-1, 9) is None\n",
    "a session of its own": "import os\ndef reached():\n    return os.setsid() >= 0\n",
    "memory that is no address space": "import os\ndef reached():\n    return os.memfd_create('x') >= 0\n",
    "more memory for itself": """
import resource
def reached():
    return resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)) is None
""",
}


def reaching(text):
    """A program that is right exactly when it reaches what it wants."""
    return f"""{text}
def double(x):
    try:
        return 2 * x if reached() else 0
    except BaseException:
        return 0
"""


LIES = {
    "leaves before the tests": "import os\nos._exit(0)",
    "leaves in the function": "import os\ndef double(x):\n    os._exit(0)",
    "exits with success": "import sys\ndef double(x):\n    sys.exit(0)",
    "exits at once": "raise SystemExit(0)",
    "raises what nobody catches": "class Out(BaseException): pass\ndef double(x):\n    raise Out",
    "is interrupted": "def double(x):\n    raise KeyboardInterrupt",
    "equals everything": """
class Any:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    __hash__ = None
def double(x): return Any()
""",
    "is a number that equals everything": """
class Any(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def double(x): return Any(0)
""",
    "is a text of a class of its own": """
class Any(str):
    def __eq__(self, other): return True
    def __str__(self): return self
    __hash__ = str.__hash__
def double(x): return Any("6")
""",
    "prints a verdict into every file": """
import json, os
def double(x):
    for number in range(64):
        try:
            os.write(number, json.dumps({"passed": True, "fault": None, "raised": None}).encode())
        except OSError:
            pass
    return 0
""",
    "overwrites what may judge it": """
import builtins, sys, unittest
class Never(Exception): pass
builtins.AssertionError = Never
sys.modules["__main__"].__dict__.update(check=lambda *_: None)
for module in list(sys.modules.values()):
    for name in ("judge", "update", "decode", "encode"):
        if name in getattr(module, "__dict__", {}):
            setattr(module, name, lambda *_, **__: {"passed": True, "fault": None, "raised": None})
unittest.TestCase.assertEqual = lambda *_: None
def double(x): return 0
""",
    "overwrites the number of the language": """
import ctypes
ctypes.memmove(id(6) + 24, (0).to_bytes(4, "little"), 4)
ctypes.memmove(id(10) + 24, (0).to_bytes(4, "little"), 4)
def double(x): return 0
""",
    "leaves it to atexit, threads and signals": """
import atexit, os, signal, threading
atexit.register(os._exit, 0)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
threading.Thread(target=lambda: os._exit(0), daemon=True).start()
def double(x): return 0
""",
    "sends answers of its own": r"""
import json, os, struct
data = json.dumps(["result", {"passed": True}]).encode()
for _ in range(20):
    os.write(3, struct.pack("!I", len(data)) + data)
def double(x): return 0
""",
    "sends what is no message": "import os\nos.write(3, b'x' * 100000)",
    "sends what is nested too deep": r"""
import os, struct
data = b"[" * 100000 + b"]" * 100000
os.write(3, struct.pack("!I", len(data)) + data)
""",
    "ends in a segmentation fault": "import ctypes\ndef double(x): return ctypes.string_at(0)",
    "calls itself for ever": """
import sys
sys.setrecursionlimit(10**9)
def double(x): return double(x)
""",
    "does not compile": "def double(x: return 2 * x",
    "is nothing": "",
}

HARM = {
    "never ends": ("def double(x):\n    while True: pass", "time"),
    "never ends while it loads": ("while True: pass", "time"),
    "computes without Python": ("def double(x): return len(str(9 ** 9 ** 8))", "time"),
    "ignores the signals": (
        "import signal\nfor n in (2, 15, 24): signal.signal(n, lambda *_: None)\nwhile True: pass",
        "time",
    ),
    "sleeps": ("import time\ntime.sleep(600)", "time"),
    "takes memory": ("def double(x): return bytearray(8 << 30)", "memory"),
    "fills a list": ("x = [0]\nwhile True: x += x", "memory"),
    "forks for ever": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "time"),
    "starts threads for ever": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
        None,
    ),
    "leaves a process behind": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n    os._exit(0)",
        None,
    ),
}


def zygotes():
    """Those of this process and those that nobody owns any more: not those of the suite's other workers."""
    beside = set(psutil.Process(os.getppid()).children()) - {psutil.Process()}
    found = set()
    for process in psutil.process_iter(["cmdline"]):
        if "inside.zygote" in " ".join(process.info["cmdline"] or []):
            with suppress(psutil.NoSuchProcess):
                if beside.isdisjoint(process.parents()):
                    found.add(process.pid)
    return found


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def scores(reward, programs, row=ROW):
    return reward(prompts=programs, completions=programs, metadata=[row] * len(programs))


@pytest.fixture
def reward(isolation):
    return load_reward({"name": "code", "isolation": isolation, "workers": 1, "seconds_per_item": 1.0})


def test_what_a_program_cannot_reach(reward, tmp_path, monkeypatch):
    monkeypatch.setenv("R2VPO_TEST_SECRET", SECRET)
    victim, made = tmp_path / "victim", tmp_path / "made"
    victim.write_text("mine")
    texts = [t.replace("{victim!r}", repr(str(victim))).replace("{made!r}", repr(str(made))) for t in REACHES.values()]
    leaked = REACHES["the tests in memory"] + "copy = ['assert double(3)']\n"
    found = scores(reward, [HONEST, *map(reaching, texts), HONEST, reaching(leaked)])
    assert dict(zip(REACHES, found[1:-2], strict=True)) == dict.fromkeys(REACHES, 0.0)
    assert [found[0], *found[-2:]] == [1.0] * 3
    assert victim.read_text() == "mine" and not made.exists()


def test_what_a_program_cannot_pretend(reward):
    found = scores(reward, [*LIES.values(), HONEST])
    assert dict(zip(LIES, found, strict=False)) == dict.fromkeys(LIES, 0.0)
    assert found[-1] == 1.0


def test_harm_is_ended_and_logged_and_nothing_is_left(isolation, caplog):
    before = zygotes()
    reward = load_reward(
        {"name": "code", "isolation": isolation, "workers": 2, "seconds_per_item": 0.3, "memory_megabytes": 256}
    )
    programs = [text for text, _ in HARM.values()]
    with caplog.at_level(logging.WARNING):
        found = scores(reward, [part for text in programs for part in (text, HONEST)])
    assert found == [0.0, 1.0] * len(HARM)
    lines = [record.getMessage() for record in caplog.records]
    for place, (name, (_, reason)) in enumerate(HARM.items()):
        if reason is not None:
            assert any(f"item {2 * place} scores 0, reason {reason}: " in line for line in lines), name
    # Two workers, and to each one sandbox: its interpreter, and bubblewrap's two processes around it.
    assert until(lambda: len(zygotes() - before) <= 2 * (3 if isolation == "bubblewrap" else 1))
    del reward
    gc.collect()
    assert until(lambda: not zygotes() - before)


def test_a_program_that_sleeps_costs_no_more_than_one_that_computes(isolation):
    reward = load_reward({"name": "code", "isolation": isolation, "workers": 1, "seconds_per_item": 3.0})
    assert scores(reward, [HONEST]) == [1.0]
    started = time.monotonic()
    # A second is less than it has, and is not taken for sleep.
    assert scores(reward, ["import time\ntime.sleep(1.2)\n" + HONEST], json.dumps({"tests": ["double(1)"]})) == [1.0]
    assert scores(reward, ["import time\ntime.sleep(600)\n" + HONEST]) == [0.0]
    assert 4.2 < time.monotonic() - started < 15.0


@pytest.mark.parametrize("partial", [False, True])
def test_a_program_that_sleeps_in_each_test_has_one_time_for_all(isolation, partial, caplog):
    reward = load_reward(
        {"name": "code", "isolation": isolation, "workers": 1, "seconds_per_item": 1.0, "partial": partial}
    )
    assert scores(reward, [HONEST]) == [1.0]
    rows = [json.dumps({"inputs": [""] * 40, "outputs": ["7"] * 40}), json.dumps({"tests": ["f()"] * 40})]
    programs = ["import time\ntime.sleep(0.9)\nprint(8)", "import time\ndef f(): time.sleep(0.9)"]
    for row, program in zip(rows, programs, strict=True):
        started = time.monotonic()
        (score,) = scores(reward, [program], row)
        assert time.monotonic() - started < 20.0 and score <= 0.1
    if partial:
        assert "reason time" in caplog.text


def test_nothing_of_one_program_reaches_the_next(reward):
    note = "\ndef double(x): return 2 * x if {} else 0"
    leave = "import os\ntry: open('/tmp/note', 'w').write('x')\nexcept OSError: pass" + note.format("True")
    time_stamp = "import os\ntry: os.utime('/tmp', (7, 7))\nexcept OSError: pass" + note.format("True")
    read = "import os" + note.format("os.path.exists('/tmp/note') or os.path.getmtime('/') == 7")
    stamp = "import os\ntry: seen = os.stat('/tmp').st_mtime == 7\nexcept OSError: seen = False" + note.format("seen")
    module = "import math\nmath.mark = 1" + note.format("True")
    mark = "import math" + note.format("hasattr(math, 'mark')")
    assert scores(reward, [leave, read, time_stamp, stamp, module, mark]) == [1.0, 0.0] * 3


def test_a_worker_that_is_killed_takes_its_sandbox_along(isolation):
    before = zygotes()
    reward = load_reward({"name": "code", "isolation": isolation, "workers": 1})
    assert scores(reward, [HONEST]) == [1.0]
    children = [(p, p.as_dict(["cmdline"])["cmdline"] or []) for p in psutil.Process().children()]  # some have ended
    workers = [p for p, command in children if "rewards.worker" in " ".join(command)]
    assert workers
    started = zygotes() - before
    assert started
    for worker in workers:
        os.kill(worker.pid, 9)
    assert until(lambda: not zygotes() & started)
    assert scores(reward, [HONEST]) == [1.0]


def test_a_sandbox_that_is_killed_is_replaced(isolation):
    before = zygotes()
    reward = load_reward({"name": "code", "isolation": isolation, "workers": 1})
    assert scores(reward, [HONEST]) == [1.0]
    for pid in zygotes() - before:
        with suppress(ProcessLookupError):  # it has ended with another one of them
            os.kill(pid, 9)
    assert scores(reward, [HONEST]) == [1.0]

"""What programs cost: the reward `code` over many answers, with and without one in a hundred hostile.

    python benchmarks/code_reward.py                    # writes benchmarks/results/code_reward.json
    python benchmarks/code_reward.py --answers 200      # smaller

Each answer has three tests. Both sets have the same honest answers; for each isolation they are scored in turn by one
warm pool.
"""

import argparse
import json
import os
import platform
import random
import statistics
from pathlib import Path

from reward_pool import measure

import r2vpo
from r2vpo.errors import UserError
from r2vpo.rewards import load_reward

HOSTILE = (
    "while True: pass",
    "def f(a, b):\n    return len(str(9 ** 9 ** 8))",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "x = [0]\nwhile True: x += x",
    "def f(a, b):\n    return bytearray(8 << 30)",
    "import os\nos._exit(0)",
    "import time\ntime.sleep(600)",
    "open('/tmp/x', 'w').write('x' * (1 << 30))",
    "import socket\nsocket.socket()",
    "class A:\n    def __eq__(self, other): return True\ndef f(a, b): return A()",
)
FORMS = (
    "return a + b",
    "return sorted([b, a, a * b])",
    "return {i: i * i for i in range(a, a + b)}",
    "import math\n    return math.gcd(a, b), math.lcm(a, b)",
    "return [p for p in range(2, a * b) if all(p % q for q in range(2, p))]",
    "return ''.join(chr(97 + (i * a) % 26) for i in range(b))",
    "from collections import Counter\n    return dict(Counter(str(a ** b)))",
)


def honest(generator: random.Random) -> tuple[str, str, float]:
    """A completion, its row's metadata, and the score that it must get."""
    body = generator.choice(FORMS)
    names: dict = {}
    exec(f"def f(a, b):\n    {body}\n", names)
    pairs = [(generator.randint(2, 9), generator.randint(2, 9)) for _ in range(3)]
    tests = [f"assert f({a}, {b}) == {names['f'](a, b)!r}" for a, b in pairs]
    wrong = generator.random() < 0.5
    thought = "So we write a function and look at each number in turn. " * generator.randint(1, 20)
    program = f"def f(a, b):\n    {'return None' if wrong else body}\n"
    return f"{thought}\n```python\n{program}```\n", json.dumps({"tests": tests}), float(not wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds-per-item", type=float, default=2.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "code_reward.json")
    options = parser.parse_args()
    generator = random.Random(0)
    hostile_count = options.answers // 100
    good = [honest(generator) for _ in range(options.answers - hostile_count)]
    mixed = good + [(HOSTILE[i % len(HOSTILE)], good[0][1], 0.0) for i in range(hostile_count)]
    generator.shuffle(mixed)
    result = {
        "what": "time of the reward code over the same honest answers, with and without hostile ones among them",
        "unit": "seconds; ratio is mixed / honest of each repeat; milliseconds are of a worker, for an honest answer",
        "answers": {"honest": len(good), "hostile": hostile_count, "tests": 3, "forms": list(HOSTILE)},
        "workers": options.workers,
        "seconds_per_item": options.seconds_per_item,
        "repeats": options.repeats,
        "isolations": {},
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()},
        "versions": {"python": platform.python_version(), "r2vpo": r2vpo.__version__},
    }
    for isolation in ("process", "bubblewrap"):
        try:
            reward = load_reward({"name": "code", "isolation": isolation, **_limits(options)})
        except UserError as error:
            print(error)
            continue
        measured = measure(reward, "metadata", good, mixed, options.repeats)
        each = [1000 * took * options.workers / len(good) for took in measured["seconds"]["honest"]]
        measured["milliseconds_per_answer"] = {"median": statistics.median(each), "min": min(each), "max": max(each)}
        result["isolations"][isolation] = measured
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


def _limits(options: argparse.Namespace) -> dict:
    return {"workers": options.workers, "seconds_per_item": options.seconds_per_item}


if __name__ == "__main__":
    main()

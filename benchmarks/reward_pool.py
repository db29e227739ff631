"""What hostile answers cost the others: the reward `math` over many answers, with and without one in a hundred hostile.

    python benchmarks/reward_pool.py                    # writes benchmarks/results/reward_pool.json
    python benchmarks/reward_pool.py --answers 1000     # smaller

Both sets have the same honest answers and are scored in turn by one warm pool.
"""

import argparse
import json
import logging
import os
import platform
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import r2vpo
from r2vpo.rewards import load_reward

Rows = list[tuple[str, str, float]]
"""Completions, what they are scored by, and the scores that they must get."""
GOAL = 1.5
HOSTILE = (
    r"\boxed{9**9**9**9}",
    r"\boxed{9^{9^{9^{9}}}}",
    r"\boxed{(10^9)!}",
    r"\boxed{((9!)!)!}",
    r"\boxed{(x+y+z)^{5000}}",
    r"\boxed{" + r"\frac{1}{" * 200 + "2" + "}" * 200 + "}",
    "{" * 2_000_000,
    r"\boxed{" * 300_000,
    r"\boxed{\int_0^1 \sin(x^{x^x}) dx}",
    r"\boxed{(9999 \cdot 9999)!}",
)


def honest(generator: random.Random) -> tuple[str, str, float]:
    """A completion, its gold answer, and the score that it must get."""
    a, b, c = (generator.randint(2, 60) for _ in range(3))
    wrong = generator.random() < 0.5
    d = c + wrong
    forms = (
        (rf"{a * c}", rf"{a * d}"),
        (rf"\frac{{{a}}}{{{c}}}", rf"{a}/{d}"),
        (rf"{a}.{b:02d}", rf"{a + wrong}.{b:02d}0"),
        (rf"({a}, {a + c}]", rf"({a},{a + d}]"),
        (rf"\{{{a}, {a + b}, {a + b + c}\}}", rf"{a}, {a + b}, {a + b + d}"),
        (rf"{c}\%", rf"{d}\%\text{{ of it}}" if wrong else rf"{c} \%"),
        (rf"{a}\sqrt{{{c}}}", rf"\sqrt{{{a * a * d}}}"),
        (rf"{c}x+{b}", rf"{b}+{d}x"),
        (rf"x={c}", rf"{d}"),
        (rf"{c}", rf"{d}\text{{ cm}}"),
    )
    gold, answer = generator.choice(forms)
    thought = "So we add the parts and take the root. " * generator.randint(1, 40)
    return f"{thought}The answer is $\\boxed{{{answer}}}$.", gold, float(not wrong)


class Reasons(logging.Handler):
    """Counts why answers had no score."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line of the pool's log."""
        self.counts[str(record.args[2])] += 1


def measure(reward: Callable[..., list[float]], column: str, good: Rows, mixed: Rows, repeats: int) -> dict[str, Any]:
    """Score both sets in turn.

    Args:
        reward: a reward that scores in a pool.
        column: what the second item of a row is to it.
        good: honest answers with their scores.
        mixed: the same, with hostile ones among them.
        repeats: how often.
    """
    reasons = Reasons()
    logger = logging.getLogger("r2vpo.rewards.pool")
    logger.handlers, logger.propagate = [reasons], False
    seconds: dict[str, list[float]] = {"honest": [], "mixed": []}
    errors: dict[str, list[int]] = {"honest": [], "mixed": []}

    def score(rows: Rows) -> tuple[float, int]:
        started = time.perf_counter()
        columns = {"completions": [row[0] for row in rows], column: [row[1] for row in rows]}
        scores = reward(prompts=rows, **columns)
        took = time.perf_counter() - started
        return took, sum(found != row[2] for found, row in zip(scores, rows, strict=True))

    score(good[: len(good) // 50])
    for repeat in range(repeats):
        for name, rows in (("honest", good), ("mixed", mixed))[:: 1 if repeat % 2 == 0 else -1]:
            took, wrong = score(rows)
            seconds[name].append(took)
            errors[name].append(wrong)
            print(f"{name}: {took:.1f} s, {wrong} scores not as expected", flush=True)
    ratios = [a / b for a, b in zip(seconds["mixed"], seconds["honest"], strict=True)]
    return {
        "seconds": seconds,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "scores_not_as_expected": errors,
        "reasons_over_all_repeats": dict(reasons.counts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds-per-item", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "reward_pool.json")
    options = parser.parse_args()
    generator = random.Random(0)
    hostile_count = options.answers // 100
    good = [honest(generator) for _ in range(options.answers - hostile_count)]
    mixed = good + [(HOSTILE[i % len(HOSTILE)], "4", 0.0) for i in range(hostile_count)]
    generator.shuffle(mixed)
    reward = load_reward({"name": "math", "workers": options.workers, "seconds_per_item": options.seconds_per_item})
    result = {
        "what": "time of the reward math over the same honest answers, with and without hostile ones among them",
        "unit": "seconds; ratio is mixed / honest of each repeat",
        "answers": {"honest": len(good), "hostile": hostile_count, "forms": [text[:40] for text in HOSTILE]},
        "workers": options.workers,
        "seconds_per_item": options.seconds_per_item,
        "repeats": options.repeats,
        "goal": f"ratio at most {GOAL}",
        **measure(reward, "answer", good, mixed, options.repeats),
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()},
        "versions": {
            "python": platform.python_version(),
            "math-verify": version("math-verify"),
            "r2vpo": r2vpo.__version__,
        },
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"ratio {result['ratio']}, written to {options.output}")


if __name__ == "__main__":
    main()

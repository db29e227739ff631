"""What r2vpo_loss costs against clip_loss: forward and backward, in turn, on the same tensors.

    python benchmarks/objective_overhead.py            # writes benchmarks/results/objective_overhead.json

Each repeat times both losses, one right after the other, the order swapped every time, and takes the ratio of
the two: what slows the machine down for a while slows both.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import r2vpo
from r2vpo.core.objectives import LossOutput, clip_loss, r2vpo_loss

GOAL = 1.05
PERCENTILES = (5, 25, 50, 75, 95)


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def make_inputs(rows: int, width: int, stale: bool) -> dict[str, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    old = -normal(rows, width).abs()
    lengths = torch.randint(width // 2, width + 1, (rows, 1), generator=generator)
    return {
        "log_probs": (old + 0.1 * normal(rows, width)).requires_grad_(),
        "old_log_probs": old,
        "advantages": normal(rows),
        "response_mask": torch.arange(width) < lengths,
        "rollout_log_probs": old + 0.1 * normal(rows, width) if stale else None,
    }


def seconds(loss: Callable[..., LossOutput], inputs: dict[str, torch.Tensor | None]) -> float:
    log_probs = inputs["log_probs"]
    assert log_probs is not None
    log_probs.grad = None
    start = time.perf_counter()
    loss(**inputs, dual=2.5).loss.backward()
    return time.perf_counter() - start


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {f"p{p}": ordered[round(p / 100 * (len(ordered) - 1))] for p in PERCENTILES}


def compare(rows: int, width: int, stale: bool, repeats: int, warm_up: int) -> dict[str, object]:
    inputs = make_inputs(rows, width, stale)
    times: dict[str, list[float]] = {"r2vpo": [], "clip": []}
    for repeat in range(warm_up + repeats):
        pairs = [("r2vpo", r2vpo_loss), ("clip", clip_loss)]
        for name, loss in pairs if repeat % 2 else pairs[::-1]:
            elapsed = seconds(loss, inputs)
            if repeat >= warm_up:
                times[name].append(1e6 * elapsed)
    ratios = [a / b for a, b in zip(times["r2vpo"], times["clip"], strict=True)]
    return {
        "rollout_log_probs": stale,
        "microseconds": {name: percentiles(values) for name, values in times.items()},
        "ratio": {
            "median": statistics.median(ratios),
            "min": min(ratios),
            "max": max(ratios),
            **percentiles(ratios),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--warm-up", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    default = Path(__file__).parent / "results" / "objective_overhead.json"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cases = [compare(options.rows, options.width, stale, options.repeats, options.warm_up) for stale in (False, True)]
    result = {
        "what": "r2vpo_loss against clip_loss, forward and backward, default options",
        "unit": "microseconds; ratio is r2vpo / clip of each repeat",
        "shape": [options.rows, options.width],
        "dtype": "float32",
        "repeats": options.repeats,
        "warm_up": options.warm_up,
        "threads": options.threads,
        "goal": f"median ratio at most {GOAL}",
        "machine": {"cpu": cpu_model(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "r2vpo": r2vpo.__version__,
        },
        "cases": cases,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for case in cases:
        ratio = case["ratio"]
        assert isinstance(ratio, dict)
        print(
            f"with stale weights: {case['rollout_log_probs']!s:5}  "
            f"r2vpo / clip: median {ratio['median']:.3f}, "
            f"p5 {ratio['p5']:.3f}, p95 {ratio['p95']:.3f}"
        )
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()

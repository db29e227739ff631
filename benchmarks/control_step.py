"""What a round of R²VPO costs against one of Stable-Baselines3's PPO: collecting and training, in turn.

    python benchmarks/control_step.py            # writes benchmarks/results/control_step.json

Each repeat lets both algorithms learn one rollout buffer with the same settings, one right after the other, the order
swapped every time, and takes the ratio of the two. Time is that of the process, without what other programs use; the
wall time is stored beside it.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import gymnasium
import stable_baselines3
import torch
from stable_baselines3 import PPO

import r2vpo
from r2vpo.integrations.sb3 import R2VPO

GOAL = 1.05
CASES = {
    "r2vpo": {},
    "clip, no step control": {"objective": "clip", "step_control": False},
    "r2vpo, replay of 1 version": {"replay_versions": 1},
    "r2vpo, replay of 2 versions": {"replay_versions": 2, "replay_ratio": 2.0},
}


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def seconds(model: PPO | R2VPO) -> tuple[float, float]:
    """Processor and wall time of one round."""
    start, wall = time.process_time(), time.perf_counter()
    model.learn(model.n_steps, reset_num_timesteps=False)
    return time.process_time() - start, time.perf_counter() - wall


def compare(name: str, environment: str, repeats: int, warm_up: int) -> dict[str, object]:
    theirs = PPO("MlpPolicy", environment, seed=1, device="cpu")
    mine = R2VPO("MlpPolicy", environment, seed=1, device="cpu", **CASES[name])
    times: dict[str, list[tuple[float, float]]] = {"r2vpo": [], "ppo": []}
    for repeat in range(warm_up + repeats):
        pairs = [("r2vpo", mine), ("ppo", theirs)]
        for algorithm, model in pairs if repeat % 2 else pairs[::-1]:
            elapsed = seconds(model)
            if repeat >= warm_up:
                times[algorithm].append(elapsed)
    ratios = [a[0] / b[0] for a, b in zip(times["r2vpo"], times["ppo"], strict=True)]
    return {
        "case": name,
        "environment": environment,
        "seconds": {kind: statistics.median(one[0] for one in values) for kind, values in times.items()},
        "wall_seconds": {kind: statistics.median(one[1] for one in values) for kind, values in times.items()},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", default="Pendulum-v1")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=3)
    default = Path(__file__).parent / "results" / "control_step.json"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    cases = [compare(name, options.environment, options.repeats, options.warm_up) for name in CASES]
    result = {
        "what": "one round (2,048 steps, 10 epochs, minibatches of 64) of R2VPO against PPO with the same settings",
        "unit": "seconds of the process; ratio is r2vpo / ppo of each repeat",
        "repeats": options.repeats,
        "warm_up": options.warm_up,
        "threads": 1,
        "goal": f"median ratio at most {GOAL} without replay, and at most in proportion to the rows with it",
        "load_at_start": round(load, 1),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "stable_baselines3": stable_baselines3.__version__,
            "gymnasium": gymnasium.__version__,
            "r2vpo": r2vpo.__version__,
        },
        "cases": cases,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for case in cases:
        print(case["case"], case["ratio"], case["seconds"])
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()

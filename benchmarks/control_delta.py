"""R2VPO and Stable-Baselines3's PPO on classic control: which delta, learning rates times 10 and divided by 10, replay.

    python benchmarks/control_delta.py            # writes benchmarks/results/control_delta.json

The tasks are cheap, and their settings are PPO's defaults but for what describes the task (gamma, steps of a round, and
for the pendulum PPO's usual rate). A run is described by the mean return of the episodes that end in each tenth of it:
`area` is the mean of the ten, `last` that of the last two. With `--methods`, `--tasks` and `--seeds` only a part is
run, and the file keeps what it has of the rest.
"""

import argparse
import itertools
import json
import platform
import statistics
import time
from pathlib import Path

import gymnasium
import stable_baselines3
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import r2vpo
from r2vpo.integrations.sb3 import R2VPO

ENVIRONMENTS, RATE = 4, 3e-4
TASKS = {
    "Pendulum-v1": {"steps": 60_000, "n_steps": 512, "gamma": 0.9, "learning_rate": 1e-3},
    "CartPole-v1": {"steps": 40_000, "n_steps": 256},
    "Acrobot-v1": {"steps": 60_000, "n_steps": 512, "normalize": True},
}
METHODS = {
    "ppo": (PPO, 1.0, {}),
    "delta 0.02": (R2VPO, 1.0, {"delta": 0.02}),
    "delta 0.03": (R2VPO, 1.0, {"delta": 0.03}),
    "delta 0.05": (R2VPO, 1.0, {"delta": 0.05}),
    "ppo, rate x 10": (PPO, 10.0, {}),
    "delta 0.03, rate x 10": (R2VPO, 10.0, {"delta": 0.03}),
    "delta 0.03, replay of 1 version": (R2VPO, 1.0, {"delta": 0.03, "replay_versions": 1}),
    "ppo, rate / 10": (PPO, 0.1, {}),
    "delta 0.03, rate / 10": (R2VPO, 0.1, {"delta": 0.03}),
}
PARTS = 10


class Returns(BaseCallback):
    """Collects the returns of the episodes that end in each part of the run."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.parts: list[list[float]] = [[] for _ in range(PARTS)]

    def _on_step(self) -> bool:
        part = min(PARTS * (self.num_timesteps - 1) // self.steps, PARTS - 1)
        self.parts[part] += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        return True


def run(task: str, method: str, seed: int) -> dict[str, object]:
    settings = dict(TASKS[task])
    kind, factor, arguments = METHODS[method]
    steps, normalize = settings.pop("steps"), settings.pop("normalize", False)
    rate = factor * settings.pop("learning_rate", RATE)
    env = make_vec_env(task, n_envs=ENVIRONMENTS, seed=seed)
    if normalize:
        env = VecNormalize(env)
    model = kind("MlpPolicy", env, learning_rate=rate, seed=seed, device="cpu", **settings, **arguments)
    returns, start = Returns(steps), time.process_time()
    model.learn(steps, callback=returns, log_interval=None)
    means = [round(statistics.fmean(part), 1) if part else None for part in returns.parts]
    known = [mean for mean in means if mean is not None]
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "area": round(statistics.fmean(known), 1),
        "last": round(statistics.fmean(known[-2:]), 1),
        "parts": means,
        "seconds": round(time.process_time() - start, 1),
    }


def table(runs: list[dict[str, object]]) -> str:
    """The means over seeds, as a table."""
    lines = [f"{'method':32}" + "".join(f"{task:>28}" for task in TASKS)]
    for method in METHODS:
        cells = []
        for task in TASKS:
            mine = [one for one in runs if (one["task"], one["method"]) == (task, method)]
            areas, last = ([float(str(one[what])) for one in mine] for what in ("area", "last"))
            cells.append(f"{statistics.fmean(areas):9.1f} {statistics.fmean(last):8.1f} ({len(mine)})" if mine else "-")
        lines.append(f"{method:32}" + "".join(f"{cell:>28}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    default = Path(__file__).parent / "results" / "control_delta.json"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[tuple[str, str, int], dict[str, object]] = {}
    if options.output.exists():
        for one in json.loads(options.output.read_text(encoding="utf-8"))["runs"]:
            runs[one["task"], one["method"], one["seed"]] = one
    for method, seed, task in itertools.product(options.methods, options.seeds, options.tasks):
        found = runs[task, method, seed] = run(task, method, seed)
        print(found, flush=True)
        result = {
            "what": "returns of classic control tasks in training, R2VPO and Stable-Baselines3's PPO",
            "unit": "return of an episode: mean of the parts of a run (area), and of the last two of ten (last)",
            "environments": ENVIRONMENTS,
            "tasks": TASKS,
            "methods": {name: {"rate": rate, **arguments} for name, (_, rate, arguments) in METHODS.items()},
            "threads": 1,
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "stable_baselines3": stable_baselines3.__version__,
                "gymnasium": gymnasium.__version__,
                "r2vpo": r2vpo.__version__,
            },
            "runs": list(runs.values()),
        }
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(list(runs.values())))
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()

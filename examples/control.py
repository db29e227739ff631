"""Swing up a pendulum: R²VPO for continuous control, in the place of Stable-Baselines3's PPO.

    pip install 'r2vpo[sb3,report]'
    python examples/control.py           # about a minute on one core; writes runs/control/
    python examples/control.py 2         # two rounds, to see that it runs

It prints the mean return of the last episodes (about -1,200 at the start; near -200, the pendulum is swung up and
stays upright), draws it in `returns.png`, saves the model, and, where pygame is installed (`pip install pygame-ce`),
shows it in `pendulum.gif`.
"""

import sys
from pathlib import Path

import gymnasium
import matplotlib
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from r2vpo.integrations.sb3 import R2VPO

ENVIRONMENTS, STEPS, ROUNDS = 4, 512, 40
FOLDER = Path("runs/control")


class Returns(BaseCallback):
    """Collects the return of each episode, and prints their mean once a round."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.steps.append(self.num_timesteps)
                self.returns.append(float(info["episode"]["r"]))
        return True

    def _on_rollout_end(self) -> None:
        recent = self.returns[-20:]
        if recent:
            print(f"{self.num_timesteps:6} steps: mean return {sum(recent) / len(recent):7.1f}", flush=True)


def draw(curve: Returns) -> None:
    """Draw each episode's return over the steps."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(curve.steps, curve.returns, ".", markersize=4)
    axes.set_xlabel("steps")
    axes.set_ylabel("return of an episode")
    axes.set_title("Pendulum-v1, R²VPO")
    figure.savefig(FOLDER / "returns.png", dpi=150)


def film(model: R2VPO) -> None:
    """Write one episode as a GIF, if the environment can be rendered here."""
    from PIL import Image

    try:
        environment = gymnasium.make("Pendulum-v1", render_mode="rgb_array")
        observation, _ = environment.reset(seed=0)
        pictures, over = [], False
        while not over:
            pictures.append(Image.fromarray(environment.render()).resize((200, 200)))
            action, _ = model.predict(observation, deterministic=True)
            observation, _, terminated, truncated, _ = environment.step(action)
            over = terminated or truncated
    except gymnasium.error.DependencyNotInstalled as error:
        print(f"no film: {error}")
        return
    pictures[0].save(FOLDER / "pendulum.gif", save_all=True, append_images=pictures[1::2], duration=60, loop=0)


def main() -> None:
    """Train, draw and film."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    torch.set_num_threads(1)  # the networks are small
    FOLDER.mkdir(parents=True, exist_ok=True)
    environment = make_vec_env("Pendulum-v1", n_envs=ENVIRONMENTS, seed=1)
    # What is set describes the task, whose rewards are near, and is what PPO is used with on it; delta is the default.
    model = R2VPO("MlpPolicy", environment, learning_rate=1e-3, n_steps=STEPS, gamma=0.9, seed=1, device="cpu")
    curve = Returns()
    model.learn(rounds * ENVIRONMENTS * STEPS, callback=curve)
    model.save(FOLDER / "pendulum")
    draw(curve)
    film(model)
    print(f"wrote {FOLDER}")


if __name__ == "__main__":
    main()

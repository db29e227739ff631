"""Let a cheetah run: R²VPO on a task of MuJoCo, with normalised observations and rewards, and a film of the result.

    pip install 'r2vpo[control,report]'
    python examples/half_cheetah.py      # about six minutes on one core; writes runs/half_cheetah/
    python examples/half_cheetah.py 2    # two rounds, to see that it runs

It prints the mean return of the last episodes and saves the policy with the statistics that it needs. Where EGL (GPUs
and Mesa; `apt install libegl1`) or OSMesa can render without a screen, it films an episode in `half_cheetah.gif`.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when gymnasium imports mujoco; set it to osmesa or glfw otherwise

import gymnasium
import torch
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from r2vpo.integrations.sb3 import R2VPO

TASK, ENVIRONMENTS, STEPS, ROUNDS = "HalfCheetah-v5", 8, 256, 488
FOLDER = Path("runs/half_cheetah")


def show(learner: dict, _: dict) -> bool:
    """Print the mean return of the last hundred episodes, once a round; True lets the training continue."""
    model = learner["self"]
    if model.ep_info_buffer and model.num_timesteps % (ENVIRONMENTS * STEPS) == 0:
        returns = [episode["r"] for episode in model.ep_info_buffer]
        print(f"{model.num_timesteps:8} steps: mean return {sum(returns) / len(returns):8.1f}", flush=True)
    return True


def film(model: R2VPO, normalize: VecNormalize, pictures: int = 150) -> None:
    """Write the first seconds of an episode as a GIF, if it can be rendered here."""
    from PIL import Image

    environment = gymnasium.make(TASK, render_mode="rgb_array", width=240, height=160)
    observation, _ = environment.reset(seed=0)
    frames = []
    try:
        for _ in range(pictures):
            frames.append(Image.fromarray(environment.render()).quantize(64))
            action, _ = model.predict(normalize.normalize_obs(observation), deterministic=True)
            observation, _, _, _, _ = environment.step(action)
    except Exception as error:  # each way of rendering raises its own
        print(f"no film: {type(error).__name__} {error}")
        return
    frames[0].save(FOLDER / "half_cheetah.gif", save_all=True, append_images=frames[1:], duration=50, loop=0)


def main() -> None:
    """Train, save and film."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    torch.set_num_threads(1)  # the networks are small
    FOLDER.mkdir(parents=True, exist_ok=True)
    environments = VecNormalize(make_vec_env(TASK, n_envs=ENVIRONMENTS, seed=1))
    model = R2VPO("MlpPolicy", environments, n_steps=STEPS, seed=1, device="cpu")
    model.learn(rounds * ENVIRONMENTS * STEPS, callback=show)
    model.save(FOLDER / "policy")
    environments.save(str(FOLDER / "normalize.pkl"))
    film(model, environments)
    print(f"wrote {FOLDER}")


if __name__ == "__main__":
    main()

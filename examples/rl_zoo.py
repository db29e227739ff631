"""Run a command of RL Baselines3 Zoo with R²VPO among its algorithms.

    pip install 'r2vpo[sb3]' rl_zoo3
    python examples/rl_zoo.py train --algo r2vpo --env CartPole-v1 --conf-file hyperparams/r2vpo.yml --num-threads 1
    python examples/rl_zoo.py enjoy --algo r2vpo --env CartPole-v1 --folder logs --no-render

The first argument is a module of rl_zoo3: `train`, `enjoy`, `record_video`, `push_to_hub`. The others are its own.
"""

import runpy
import sys

from rl_zoo3 import ALGOS

from r2vpo.integrations.sb3 import R2VPO

ALGOS["r2vpo"] = R2VPO

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    runpy.run_module(f"rl_zoo3.{sys.argv.pop(1)}", run_name="__main__")

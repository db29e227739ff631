"""The core stays pure: torch and the standard library, nothing else, in a fresh interpreter."""

import subprocess
import sys

SCRIPT = """
import sys
import r2vpo.core.advantages, r2vpo.core.diagnostics, r2vpo.core.dual
import r2vpo.core.objectives, r2vpo.core.step_size, r2vpo.core.kl_adaptive
heavy = {"trl", "transformers", "accelerate", "peft", "datasets", "pydantic", "rich"} & set(sys.modules)
ours = {name for name in sys.modules if name.startswith("r2vpo.") and not name.startswith("r2vpo.core")}
sys.exit(f"imported {sorted(heavy | ours)}" if heavy | ours else 0)
"""


def test_the_core_imports_torch_alone():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

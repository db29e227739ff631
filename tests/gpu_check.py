"""Runs `scripts/gpu_check.sh` on a pretended GPU, with programs that only write down what they were told to run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "gpu_check.sh"


def pretend(
    folder: Path, *steps: str, gpus: int = 1, python: str = "", **more: str
) -> tuple[str, int, list[list[str]]]:
    """Run steps.

    Args:
        folder: For the programs, and in `out` the output.
        steps: None are all.
        gpus: How many there seem to be.
        python: Lines of shell that the pretended interpreter runs besides.
        more: Its environment.

    Returns:
        Its summary, or what it printed where it wrote none; its exit status; the arguments of each call of Python.
    """
    calls, out = folder / "calls", folder / "out"
    lines = "\n".join(["echo 'A GPU, 80 GB, 1'"] * gpus)
    programs = {
        "nvidia-smi": lines,
        # A line in one write: calls run side by side.
        "python3": f"call=$(printf '%s\\037' \"$@\"); printf '%s\\n' \"$call\" >> {calls}\n"
        f'case "$*" in *resolve_model*) echo /models/small;; esac\n{python}',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    pythons = {name: str(folder / "python3") for name in ("PYTHON", "VLLM_PYTHON", "VERL_PYTHON", "OPENRLHF_PYTHON")}
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": os.environ["HOME"], "OUT": str(out)} | pythons
    done = subprocess.run(
        ["bash", str(SCRIPT), *steps], env=environment | more, capture_output=True, text=True, timeout=120
    )
    summary = out / "summary.md"
    told = [line.split("\037")[:-1] for line in calls.read_text().splitlines()] if calls.exists() else []
    return summary.read_text() if summary.exists() else done.stderr, done.returncode, told

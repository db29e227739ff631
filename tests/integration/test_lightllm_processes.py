"""Two processes that sample from one LightLLM server: one renews it, both know of what version their rows are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sampling.lightllm_server import lightllm
from tests.unit.sampling.test_lightllm import RENEW

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(url: str, renew_command: str, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "tests.integration.lightllm_processes", url, renew_command, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_sample_from_one_server(tmp_path: Path) -> None:
    with lightllm(tmp_path / "state") as server:
        command = f'"{sys.executable}" -c "{RENEW}" {{model_dir}} {{model_name}} "{server.state}"'
        first, second = run(server.url, command, tmp_path)
        served, requests = server.name, server.requests
    assert first == second and (first["processes"], first["said"]) == (2, "")
    rows = sum(first["staleness"])
    # Half of the rows were sampled by the version before; each row was asked for once.
    assert first["staleness"] == [rows // 2, rows // 2] and rows == sum(r["parameters"]["best_of"] for r in requests)
    (kept,) = (tmp_path / "run" / "lightllm").iterdir()
    assert first["rounds"] == 8 and served == kept.name == "run-6"


def test_a_renewal_that_fails_ends_both(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -c "import sys; sys.exit(chr(110) + chr(111))" {{model_dir}} {{model_name}}'
    with lightllm(tmp_path / "state") as server:
        first, second = run(server.url, command, tmp_path)
    assert first["said"] == second["said"] and "renew_command ended with 1 (no)" in first["said"]

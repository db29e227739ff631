"""Two machines of one process each: refused without a common disk, whole checkpoints with one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_machines_without_a_common_disk_are_refused(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    place |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    place["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    command = [sys.executable, "-m", "tests.integration.two_machines", str(tmp_path)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | place | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for process, text in zip(running, printed, strict=True):
        assert process.returncode == 0, text[-3000:]
    for rank in range(2):
        report = json.loads((tmp_path / f"{rank}.json").read_text())
        assert (report["rank"], report["local"]) == (rank, 0)
        assert "processes 1 of 2 do not see" in report["refused"] and "all machines share" in report["refused"]
    assert not list(tmp_path.glob("machine*/out/*")), "it was refused after work had started"
    written = {path.name for path in (tmp_path / "common" / "checkpoint-2").iterdir()}
    assert {"r2vpo_state_0.pt", "r2vpo_state_1.pt", "model.safetensors"} <= written

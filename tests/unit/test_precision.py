"""Which devices multiply in bfloat16."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from r2vpo.precision import multiplies_bfloat16

CPUINFO = Path("/proc/cpuinfo")
HELD = "ONEDNN_MAX_CPU_ISA"
ANSWER = "from r2vpo.precision import multiplies_bfloat16; print(multiplies_bfloat16(on_cpu=True))"


@pytest.mark.parametrize(
    "capabilities", [{}, {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, {"neon": True, "bf16": True}]
)
def test_a_cpu_needs_units_for_it(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(on_cpu=True) is False


@pytest.mark.skipif(
    not CPUINFO.exists() or HELD in os.environ, reason="compares with Linux' list of flags, without oneDNN held"
)
def test_this_cpu_says_the_same_to_the_system() -> None:
    flags = set(re.findall(r"\w+", CPUINFO.read_text()))
    assert multiplies_bfloat16(on_cpu=True) is bool(flags & {"avx512_bf16", "amx_bf16"})


def test_onednn_may_be_held_from_using_them() -> None:
    """It reads the variable once a process."""
    said = subprocess.run([sys.executable, "-c", ANSWER], env=os.environ | {HELD: "AVX2"}, capture_output=True)
    assert said.stdout.split() == [b"False"]


@pytest.mark.parametrize(
    ("there", "supported", "expected"), [(False, False, True), (True, True, True), (True, False, False)]
)
def test_a_gpu_is_asked_and_one_that_is_only_planned_for_has_them(
    monkeypatch: pytest.MonkeyPatch, there: bool, supported: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported or including_emulation)
    assert multiplies_bfloat16(on_cpu=False) is expected

"""Which devices multiply in bfloat16."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from r2vpo.precision import multiplies_bfloat16

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, False),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_a_cpu_needs_units_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(on_cpu=True) is expected


@pytest.mark.skipif(not CPUINFO.exists(), reason="only Linux lists the flags of its CPU")
def test_this_cpu_says_the_same_to_the_system() -> None:
    flags = set(re.findall(r"\w+", CPUINFO.read_text()))
    assert multiplies_bfloat16(on_cpu=True) is bool(flags & {"avx512_bf16", "amx_bf16"})


@pytest.mark.parametrize(
    ("there", "supported", "expected"), [(False, False, True), (True, True, True), (True, False, False)]
)
def test_a_gpu_is_asked_and_one_that_is_only_planned_for_has_them(
    monkeypatch: pytest.MonkeyPatch, there: bool, supported: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported or including_emulation)
    assert multiplies_bfloat16(on_cpu=False) is expected

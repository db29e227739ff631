"""Check that r2vpo resolves beside the frameworks that it is used with; `make check-resolve`.

uv reads the metadata of the package index and downloads no package. Each framework is pinned to the release that is
named in docs/guide/install.md, so that a new release of theirs does not fail a change of ours.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAIRS = (
    ("", ""),
    ("all", ""),
    ("trl", "verl[vllm]==0.9.1"),
    ("trl", "openrlhf[vllm]==0.11.2"),
    ("trl", "unsloth==2026.10.9"),
    ("", "axolotl==0.19.0"),  # it pins trl==1.9.0, which the extra trl excludes
    ("vllm,trackio,wandb", ""),
)
"""Extras of r2vpo, and the framework beside it."""
SHOWN = ("torch", "trl", "transformers", "datasets", "pydantic", "vllm")
SECONDS = 120


def resolve(uv: str, extras: str, framework: str) -> str:
    """Resolve r2vpo with extras beside a framework, and return the versions of `SHOWN` that were chosen.

    Raises:
        RuntimeError: they do not resolve, or the package index cannot be reached.
    """
    own = f"r2vpo[{extras}] @ {ROOT.as_uri()}" if extras else f"r2vpo @ {ROOT.as_uri()}"
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write(f"{own}\n{framework}\n")
        file.flush()
        platform = ["--python-version", "3.11", "--python-platform", "x86_64-unknown-linux-gnu"]
        command = [
            uv,
            "pip",
            "compile",
            "--system-certs",
            "--quiet",
            "--no-header",
            "--no-annotate",
            *platform,
            file.name,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    versions = dict(re.findall(r"^([\w-]+)==(\S+)", done.stdout, re.MULTILINE))
    return ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)


def main() -> int:
    """Resolve every pair, and print what was chosen or why nothing was.

    An index that cannot be reached says nothing about r2vpo and is a warning. What does not resolve is an error.
    """
    failed = 0
    for extras, framework in PAIRS:
        what = (f"r2vpo[{extras}]" if extras else "r2vpo") + (f" beside {framework}" if framework else "")
        start = time.monotonic()
        try:
            print(f"{what}: {resolve(sys.argv[1], extras, framework)} ({time.monotonic() - start:.1f} s)", flush=True)
        except subprocess.TimeoutExpired:
            print(f"warning: not checked from {what} on: no answer of the package index in {SECONDS} s")
            break
        except RuntimeError as error:
            if re.search(r"Failed to fetch|error sending request|dns error|timed out", str(error)):
                print(f"warning: not checked from {what} on: the package index cannot be reached: {error}")
                break
            failed += 1
            print(f"error: {what} does not resolve:\n{error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

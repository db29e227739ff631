"""Which processes ``r2vpo train --accelerate`` starts: from the options, accelerate's configuration and the devices."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from r2vpo.config.recipe import Recipe
from r2vpo.config.shipped import ACCELERATE
from r2vpo.environment import DEVICES
from r2vpo.errors import UserError

OPTIONS = ("accelerate", "num_processes", "num_machines", "machine_rank", "main_process_ip")
_GPU, _CPU = "multi_gpu", "cpu"


@dataclass(frozen=True)
class Launch:
    """The processes of a run.

    Attributes:
        file: accelerate's configuration.
        kind: its `distributed_type`.
        processes: their number on all machines.
        machines: number of machines.
        machine_rank: which of them this one is, from 0.
        main_process_ip: the address of the first machine; None if there is only one.
        on_cpu: they compute on the CPU and exchange tensors with gloo.
    """

    file: Path
    kind: str
    processes: int
    machines: int
    machine_rank: int
    main_process_ip: str | None
    on_cpu: bool

    @property
    def in_this_process(self) -> bool:
        """Whether one process without a launcher is all that is asked for."""
        return self.processes == 1 and self.kind in {"NO", "MULTI_CPU", "MULTI_GPU"}

    def environment(self) -> dict[str, str]:
        """Return the variables that the processes need beside those of the launcher."""
        if self.on_cpu:
            return {"ACCELERATE_USE_CPU": "true", DEVICES.name: ""}
        if self.in_this_process:
            # The others are hidden from every library, and the run has no note about them.
            return {DEVICES.name: os.environ.get(DEVICES.name, "0").split(",")[0]}
        return {}


def planned(arguments: argparse.Namespace, recipe: Recipe) -> Launch | None:
    """Determine the processes.

    Returns:
        The launch; None if no option asks for one.

    Raises:
        UserError: the options contradict each other, the devices or the recipe, or a package is missing.
    """
    if all(getattr(arguments, option) is None for option in OPTIONS):
        return None
    devices = _devices()
    name = arguments.accelerate or (_GPU if devices and recipe.trainer.device != "cpu" else _CPU)
    file = ACCELERATE.find(name)
    config = _read(file)
    on_cpu = not devices or recipe.trainer.device == "cpu" or bool(config.use_cpu)
    if on_cpu and recipe.trainer.device == "cuda":
        raise UserError(f"--accelerate {name} computes on the CPU here, but trainer.device = cuda: change one of them")
    machines = _first(arguments.num_machines, config.num_machines, 1)
    launch = Launch(
        file=file,
        kind=config.distributed_type.value,
        processes=_processes(arguments.num_processes, config, file, name, devices=0 if on_cpu else devices * machines),
        machines=machines,
        machine_rank=_first(arguments.machine_rank, config.machine_rank, 0),
        main_process_ip=_first(arguments.main_process_ip, config.main_process_ip),
        on_cpu=on_cpu,
    )
    _check(launch, name, devices)
    recipe.divided_over(launch.processes)
    return launch


def launch_arguments(arguments: argparse.Namespace) -> list[str]:
    """Return the options that were given, to write them once more."""
    given = {option: getattr(arguments, option) for option in OPTIONS}
    return [
        part
        for option, value in given.items()
        if value is not None
        for part in ("--" + option.replace("_", "-"), str(value))
    ]


def _devices() -> int:
    """Return the number of GPUs or other accelerators, without beginning to use them."""
    import torch

    return torch.cuda.device_count() if torch.version.cuda else torch.accelerator.device_count()


def _read(file: Path) -> Any:
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        config = load_config_from_file(str(file))
        return config if config.distributed_type.value else None
    except Exception as error:  # its checks and the reader of YAML raise many types
        raise UserError(
            f"{file}: accelerate cannot read this configuration ({type(error).__name__}: {error}): write one with "
            f"`accelerate config --config_file FILE`"
        ) from error


def _processes(given: int | None, config: Any, file: Path, name: str, *, devices: int) -> int:
    """Return the number of processes: the option's, that of the user's own file, or one for each device."""
    if given is not None:
        return given
    if config.distributed_type.value == "NO":
        return 1
    if file not in ACCELERATE.listed().values() and config.num_processes > 0:
        return int(config.num_processes)
    if not devices:
        raise UserError(
            f"--accelerate {name}: no GPU to start a process for: give --num-processes N for N processes on the CPU"
        )
    return devices


def _check(launch: Launch, name: str, devices: int) -> None:
    """Refuse what would fail after the processes have started, or would never start."""
    processes, machines = launch.processes, launch.machines
    if launch.kind == "NO" and (processes > 1 or not devices):
        what = f"is one process, not {processes}" if processes > 1 else "needs a GPU, and torch sees none"
        raise UserError(f"--accelerate {name} {what}: `r2vpo train --help` lists the other configurations")
    if launch.kind == "FSDP" and launch.on_cpu:
        # accelerate would silently run plain data parallelism.
        raise UserError(f"--accelerate {name}: accelerate shards weights over GPUs only: use --accelerate cpu here")
    if processes % machines:
        raise UserError(f"{processes} processes do not divide over {machines} machines: change --num-processes")
    if not launch.on_cpu and processes // machines > devices:
        raise UserError(
            f"{processes // machines} processes on this machine, but torch sees {devices} GPUs: lower --num-processes"
        )
    if machines > 1 and launch.main_process_ip is None:
        raise UserError(
            f"{machines} machines: give the address of the first with --main-process-ip HOST on all of them"
        )
    if launch.machine_rank >= machines:
        raise UserError(
            f"--machine-rank {launch.machine_rank}: the last of {machines} machines has {machines - 1} (--num-machines)"
        )
    if launch.kind == "DEEPSPEED" and find_spec("deepspeed") is None:
        raise UserError(f"--accelerate {name} needs DeepSpeed, which is not installed: pip install deepspeed")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)

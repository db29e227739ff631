"""Layout of a round over processes and micro-batches, and redistribution of a saved state over other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from r2vpo.errors import UserError
from r2vpo.learner.micro_batch import idle_group
from r2vpo.replay import snapshot
from r2vpo.replay.division import redivide
from r2vpo.replay.group import divide, rows_of
from r2vpo.replay.packing import pack, unpack
from r2vpo.trl.checkpoint import state_path

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer


NO_CRITIC = "none"


@dataclass(frozen=True)
class Layout:
    """The shape of a round.

    Attributes:
        processes: Number of processes that train together.
        rows: Fresh rows per round, over all processes.
        group_size: Rows per prompt.
        steps: Optimizer steps per round.
        micro_batches: Micro-batches per optimizer step on each process.
    """

    processes: int
    rows: int
    group_size: int
    steps: int
    micro_batches: int

    @classmethod
    def of(cls, trainer: R2VPOTrainer) -> Layout:
        """Return the layout of a trainer."""
        args = trainer.args
        return cls(
            processes=trainer.accelerator.num_processes,
            rows=args.generation_batch_size,
            group_size=args.num_generations,
            steps=args.steps_per_round,
            micro_batches=args.gradient_accumulation_steps,
        )

    def state_dict(self) -> dict[str, int]:
        """Plain numbers."""
        return asdict(self)

    def owner(self, group: int) -> int:
        """Return the process that sampled a group, or would have sampled it with this layout; see `Group.number`."""
        return group % self.rows * self.processes // self.rows


def settings(trainer: R2VPOTrainer) -> dict[str, Any]:
    """Return the options behind a checkpoint's rows, normalizers, older weights and controllers, by name."""
    args = trainer.args
    return {
        "rollout.lag": args.rollout.lag,
        "max_lag of rollout_func": trainer.sampler_lag or 0,
        "temperature": args.temperature,
        "num_iterations": args.num_iterations,
        "aggregation": trainer.method.config.aggregation,
        "step_control.kind": args.step_control.kind,
        "critic": args.critic.model if args.critic.enabled else NO_CRITIC,
    }


# Options that matter only to rows in the checkpoint; the rest of `settings` always matters.
_ROUND_ONLY = ("num_iterations", "aggregation")
_ROWS_ONLY = ("temperature",)


def states_for(trainer: R2VPOTrainer, checkpoint: str, *, divides_optimizer: bool) -> list[dict[str, Any]]:
    """Read a trainer's state from a checkpoint: its process's own, or that of all processes if their number changed.

    Args:
        trainer: The trainer that is to resume.
        checkpoint: Folder of the checkpoint.
        divides_optimizer: Whether another number of processes can load the optimizer's state.

    Raises:
        UserError: The checkpoint has no state of r2vpo, or one from which this trainer cannot resume; the message
            gives both numbers.
    """
    files = sorted(Path(checkpoint).glob(state_path(checkpoint, 0).name.replace("0", "*")))
    if not files:
        raise UserError(
            f"{checkpoint} holds no state of r2vpo, so no run can resume from it: it was written with "
            "save_only_model=True or by another trainer; use its weights as the model of a new run"
        )
    own = state_path(checkpoint, trainer.accelerator.process_index)
    state = snapshot.load(own if own in files else files[0])
    if not {"layout", "settings", "measured_again"} <= state.keys():
        raise UserError(f"{checkpoint} was written by an earlier version of r2vpo: start a new run with its weights")
    saved, present = Layout(**state["layout"]), Layout.of(trainer)
    _check(checkpoint, saved, present, divides_optimizer=divides_optimizer)
    _check_settings(checkpoint, state, settings(trainer))
    if saved == present:
        return [state if own in files else snapshot.load(own)]
    missing = [str(i) for i in range(saved.processes) if state_path(checkpoint, i) not in files]
    if missing:
        raise UserError(
            f"{checkpoint} was written by {saved.processes} processes, this run has {present.processes}, and the "
            f"states of processes {', '.join(missing)} are not in it: copy them there from the other machines, or "
            f"resume with {saved.processes} processes"
        )
    return [snapshot.load(state_path(checkpoint, index)) for index in range(saved.processes)]


def _check(checkpoint: str, saved: Layout, present: Layout, *, divides_optimizer: bool) -> None:
    same = {
        "rows": ("rows in a round", "generation_batch_size"),
        "group_size": ("rows per prompt", "num_generations"),
        "steps": ("optimizer steps in a round", "steps_per_generation / gradient_accumulation_steps x num_iterations"),
    }
    for name, (what, setting) in same.items():
        before, now = getattr(saved, name), getattr(present, name)
        if before != now:
            raise UserError(
                f"{checkpoint} was written by {saved.processes} processes with {before} {what}; this run, of "
                f"{present.processes}, has {now}: keep {setting} at {before} (with other processes change "
                "per_device_train_batch_size or gradient_accumulation_steps)"
            )
    if saved.processes != present.processes and not divides_optimizer:
        raise UserError(
            f"{checkpoint} was written by {saved.processes} processes and this run has {present.processes}: "
            f"DeepSpeed's optimizer state is in {saved.processes} parts; resume with {saved.processes} processes"
        )


def _check_settings(checkpoint: str, state: dict[str, Any], present: dict[str, Any]) -> None:
    """Refuse options that do not fit the checkpoint's content; between rounds there is less of it to fit."""
    within = state["round"] is not None
    rows = within or len(state["replay"]["groups"]["group_sizes"]) > 0
    # An earlier version of r2vpo had no critic.
    for saved, before in ({"critic": NO_CRITIC} | state["settings"]).items():
        name = "rollout.lag" if saved == "rollout_lag" else saved  # its former name
        if before == present[name] or (name in _ROUND_ONLY and not within) or (name in _ROWS_ONLY and not rows):
            continue
        remedy = "or start a new run with its weights"
        if name == "critic":
            raise UserError(
                f"{checkpoint} was written with {_critic(before)} and this run has {_critic(present[name])}: set "
                f"{'critic.enabled=false' if before == NO_CRITIC else f'critic.enabled=true critic.model={before}'}, "
                f"{remedy}"
            )
        if name in _ROUND_ONLY:
            every = state["layout"]["steps"]
            remedy = f"or resume from a checkpoint between two rounds, at a multiple of {every} steps"
        raise UserError(
            f"{checkpoint} was written {'within a round ' if within and name in _ROUND_ONLY else ''}with "
            f"{name}={before!r} and this run has {present[name]!r}: set it to {before!r}, {remedy}"
        )


def _critic(setting: str) -> str:
    return "no critic" if setting == NO_CRITIC else f"critic.model={setting}"


def laid_out(states: Sequence[dict[str, Any]], *, present: Layout, part: int, replay: dict[str, Any]) -> dict[str, Any]:
    """Build the state from which one process resumes, out of the states of all processes that wrote the checkpoint.

    State that is equal in all processes (controllers, curriculum, counters, clocks) is taken from the first. A group
    goes to the process that would have sampled it with the present layout. The rows of each optimizer step of a round
    in progress are divided evenly; its normalizer, which is over all processes, stays the same.

    Args:
        states: Result of `states_for`, not yet unpacked.
        present: The layout of the run that resumes.
        part: Index of the process.
        replay: The current state of its replay.
    """
    saved = Layout(**states[0]["layout"])
    if saved == present:
        return states[0]
    rounds = [state["round"] for state in states]
    return states[0] | {
        "layout": present.state_dict(),
        "step": states[0]["step"] // saved.micro_batches * present.micro_batches,
        "replay": redivide([state["replay"] for state in states], present=replay, owner=present.owner, part=part),
        "measured_again": _redivide_rows([state["measured_again"] for state in states], present, part),
        "cut_generator": states[part if part < len(states) else 0]["cut_generator"],
        "round": None if rounds[0] is None else _redivide_round(rounds, saved, present, part),
    }


def _redivide_rows(packed: Sequence[Any], present: Layout, part: int) -> Any:
    """Give each process equally many rows, so that all make the same number of forward passes."""
    groups = [group for rows in packed for group in unpack(rows)]
    each = sum(map(len, groups)) // present.processes
    (mine,) = divide(groups, [part * each, (part + 1) * each])
    return pack(mine)


def _redivide_round(
    rounds: Sequence[Sequence[dict[str, Any]]], saved: Layout, present: Layout, part: int
) -> list[dict[str, Any]]:
    pieces = present.processes * present.micro_batches
    mine = []
    for first in range(0, len(rounds[0]), saved.micro_batches):
        window = [micro for parts in rounds for micro in parts[first : first + saved.micro_batches]]
        groups = [group for micro in window for group in unpack(micro["rows"])]
        rows = sum(map(len, groups))
        places = [round(piece * rows / pieces) for piece in range(pieces + 1)]
        cuts = divide(groups, places)
        of_critic = _rows_of_critic(window)
        for index in range(part * present.micro_batches, (part + 1) * present.micro_batches):
            piece = cuts[index] or [idle_group(groups)]
            micro = {"rows": pack(piece), "normalizer": window[0]["normalizer"]}
            if of_critic:
                length = max(row.response_ids.numel() for row in rows_of(piece))
                taken = slice(places[index], places[index + 1])
                micro["critic"] = {name: _padded(all_rows[taken], length) for name, all_rows in of_critic.items()}
            mine.append(micro)
    return mine


def _rows_of_critic(window: Sequence[dict[str, Any]]) -> dict[str, list[Tensor]]:
    """Return what a critic computed of each row of some micro-batches, by name; empty without a critic."""
    names = window[0].get("critic", {})
    return {name: [row for micro in window for row in micro["critic"][name]] for name in names}


def _padded(rows: Sequence[Tensor], length: int) -> Tensor:
    """Stack rows, each cut or filled with zeros to a length; no row gives a single row of zeros."""
    cut = [torch.nn.functional.pad(row[:length], (0, max(length - len(row), 0))) for row in rows]
    return torch.stack(cut) if cut else torch.zeros(1, length)

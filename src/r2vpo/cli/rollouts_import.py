"""``r2vpo rollouts import``: answers of a server in production into the store."""

from __future__ import annotations

import argparse
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import add_store
from r2vpo.errors import UserError
from r2vpo.optional import require_store

if TYPE_CHECKING:
    from r2vpo.recording.adding import Imported
    from r2vpo.recording.scoring import FeedbackReward, FunctionReward

DISTRIBUTIONS = ("model", "temperature", "sampling")
"""`r2vpo.recording.parameters.LEVELS`, which a command's help cannot import."""


def add_parser(actions: Any) -> None:
    """Add the action to those of `r2vpo rollouts`."""
    command = actions.add_parser("import", help="read logs of a server: answers with token ids and log-probs")
    command.add_argument("files", metavar="FILE", nargs="+", help="JSON Lines, also .gz; several files are one log")
    add_store(command)
    add_options(command)
    command.add_argument("--dry-run", action="store_true", help="say what would be imported, and write nothing")
    command.set_defaults(command="rollouts_import:run")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that say how a log is read, which `r2vpo record` also has."""
    command.add_argument("--model", metavar="MODEL", required=True, help="the model that was served, for its tokenizer")
    reward = command.add_mutually_exclusive_group(required=True)
    reward.add_argument(
        "--reward", metavar="NAME=WEIGHT,...", help="score answers by feedback, such as thumb=1,edited=-0.5"
    )
    reward.add_argument(
        "--reward-function", metavar="NAME", help="score answers by a reward's name, or module:function"
    )
    command.add_argument(
        "--log-probs-of",
        choices=DISTRIBUTIONS,
        default=DISTRIBUTIONS[0],
        help="what the server's log-probs are of: the model (vLLM; the default), after temperature and penalties "
        "(SGLang, LightLLM), or after all of sampling (vLLM with --logprobs-mode processed_logprobs)",
    )
    command.add_argument(
        "--sampling-defaults",
        choices=("model", "openai"),
        default="model",
        help="what a request leaves out is as in the model's generation_config.json (default), or has no effect",
    )
    command.add_argument(
        "--columns", metavar="PATH", nargs="+", default=[], help="of a log's row, for the reward: metadata.answer"
    )
    command.add_argument(
        "--version-column", metavar="PATH", help="what tells policy versions apart (default: the server's model name)"
    )
    command.add_argument("--name", metavar="NAME", help="of the import in the store (default: the first file's)")
    command.add_argument("--tags", metavar="TAG", nargs="+", default=[], help="by which runs can select it")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Read the logs, and print what was imported and what was left out.

    Raises:
        UserError: no answer can be used, or a file, the model or the store cannot be read.
    """
    require_store("r2vpo rollouts import")
    from r2vpo.models import load_sampling_defaults, load_tokenizer
    from r2vpo.models.catalog import documented_name, resolve_model
    from r2vpo.models.fingerprint import tokenizer_fingerprint
    from r2vpo.recording.adding import Target
    from r2vpo.recording.gathering import LogOptions
    from r2vpo.recording.importing import check_log, import_log
    from r2vpo.recording.left_out import PRUNED
    from r2vpo.recording.scoring import FeedbackReward

    paths = [Path(name) for name in arguments.files]
    reward = reward_of(arguments)
    tokenizer = load_tokenizer(arguments.model)
    options = LogOptions(
        log_probs_of=arguments.log_probs_of,
        defaults=load_sampling_defaults(arguments.model) if arguments.sampling_defaults == "model" else {},
        columns={path.rsplit(".", 1)[-1]: path for path in arguments.columns},
        version_column=arguments.version_column,
    )
    if arguments.dry_run:
        done = check_log(paths, tokenizer, options, reward if isinstance(reward, FeedbackReward) else None)
    else:
        target = Target(
            store=arguments.store,
            name=arguments.name or paths[0].name.split(".")[0],
            model=documented_name(resolve_model(arguments.model)),
            tokenizer=tokenizer_fingerprint(tokenizer),
            tags=arguments.tags,
        )
        done = import_log(paths, tokenizer, options, reward, target)
    _print(done, [str(path) for path in paths], dry=arguments.dry_run)
    if not done.rows and not done.known and PRUNED not in done.left_out.counts:
        raise UserError(f"{', '.join(arguments.files)}: none of {done.gathered.read:,} answers can be used, see above")


def reward_of(arguments: argparse.Namespace) -> FeedbackReward | FunctionReward:
    """Return the reward that `--reward` or `--reward-function` names.

    Raises:
        UserError: there is no such reward, or a weight is not a number.
    """
    from r2vpo.recording.scoring import FeedbackReward, FunctionReward

    if arguments.reward_function is not None:
        from r2vpo.rewards import load_reward

        return FunctionReward(load_reward(arguments.reward_function), arguments.reward_function)
    weights = {}
    for part in arguments.reward.split(","):
        name, _, weight = part.partition("=")
        try:
            weights[name.strip()] = float(weight or 1)
            if not math.isfinite(weights[name.strip()]):
                raise ValueError
        except ValueError:
            raise UserError(f"--reward {arguments.reward}: {weight!r} is not a number: write thumb=1") from None
    if "" in weights:
        raise UserError(f"--reward {arguments.reward}: a name is missing: write thumb=1,edited=-0.5")
    return FeedbackReward(weights)


def _print(done: Imported, names: list[str], *, dry: bool) -> None:
    from r2vpo.recording.left_out import printable

    for name, version in done.gathered.versions.items():
        print(f"version {printable(name)}: {_moment(version.first)} to {_moment(version.last)}")
    what = "would be imported" if dry else "imported"
    print(f"{done.rows:>9,} of {done.gathered.read:,} answers {what}, in {done.groups:,} groups")
    if done.rows and done.telling is not None:
        print(f"{done.telling:>9,} of these groups can be drawn: their scores differ, or there is only one answer")
    if done.known:
        print(f"{done.known:>9,} were in the store, as {done.name}")
    if done.scored_again:
        print(f"{done.scored_again:>9,} of these got a score by this reward, or another one than before")
    for line in done.left_out.lines(names):
        print(line)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

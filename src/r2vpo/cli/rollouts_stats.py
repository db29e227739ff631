"""``r2vpo rollouts stats``: how much is in a store, what it is worth, and what runs have drawn from it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import add_store, fraction, opened
from r2vpo.cli.table import table
from r2vpo.cli.values import above_zero
from r2vpo.config.numbers import NOTHING, byte_size, count, duration, significant

if TYPE_CHECKING:
    from r2vpo.store.asking import StoredRun, VersionEntry
    from r2vpo.store.drawn import Draws

DAY = 86_400.0
AGES = (("under a day", DAY), ("1 to 7 days", 7 * DAY), ("7 to 30 days", 30 * DAY), ("over 30 days", float("inf")))


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "stats", help="how much is in a store by run and age, what it is worth, and what was drawn"
    )
    add_store(parser)
    parser.add_argument("--runs-dir", metavar="DIR", default="runs", help="where the speed of runs is read (runs)")
    parser.add_argument("--tokens-per-second", metavar="N", type=above_zero, help="of sampling, for runs not found")
    parser.add_argument("--price-per-million-tokens", metavar="P", type=above_zero, help="of sampled tokens")
    parser.add_argument("--price-per-hour", metavar="P", type=above_zero, help="of the machine that samples")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command="rollouts_stats:run")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Print totals, a line for each run and age, and the weight of what was drawn."""
    store = opened(arguments, read_only=True)
    from r2vpo.store import asking
    from r2vpo.store.drawn import all_draws, latest_shares
    from r2vpo.store.opening import shown

    with store.reading() as connection:
        runs = asking.select_runs(connection, place=shown(arguments.store))
        versions = asking.versions_in(connection, [one.id for one in runs])
        draws, size = all_draws(connection), asking.size_on_disk(connection)
    whole = asking.total(versions)
    found = {
        "store": shown(arguments.store),
        "bytes": size,
        "runs": len(runs),
        "versions": whole.versions,
        "rollouts": whole.rollouts,
        "tokens": whole.tokens,
        "by_run_and_age": _by_age(runs, versions, latest_shares(draws)),
        "drawn": _drawn(arguments, runs, draws),
    }
    print(json.dumps(found, indent=2) if arguments.json else _in_words(found))


def _by_age(runs: Sequence[StoredRun], versions: Sequence[VersionEntry], shares: dict[int, float]) -> list[Any]:
    from r2vpo.store import asking

    now, rows = time.time(), []
    for run in runs:
        youngest = 0.0
        for age, oldest in AGES:
            some = [one for one in versions if one.run == run.id and youngest <= max(now - one.created, 0) < oldest]
            youngest = oldest
            amount = asking.total(some)
            known = [(shares[one.id], one.amount.rollouts) for one in some if one.id in shares]
            weight = sum(rollouts for _, rollouts in known)
            share = sum(share * rollouts for share, rollouts in known) / weight if weight else None
            if amount.rollouts:
                entry = {"run": run.name, "age": age, "rollouts": amount.rollouts, "share": share}
                rows.append(entry | {"measured_rollouts": weight, "uses": amount.uses})
    return rows


def _drawn(arguments: argparse.Namespace, runs: Sequence[StoredRun], draws: Sequence[Draws]) -> dict[str, Any]:
    """Return the weight of what was drawn in fresh rollouts, and what sampling that many takes.

    Hours are None if the speed of a run that drew is not known, and prices if not given.
    """
    from r2vpo.config.sampling_speed import sampling_speed

    names = {run.id: run.name for run in runs}
    speeds = {run.id: sampling_speed(Path(arguments.runs_dir) / run.name) for run in runs}
    rollouts, tokens = (sum(getattr(one, name) for one in draws) for name in ("weight_rows", "weight_tokens"))
    hours, unknown = 0.0, set()
    for one in draws:
        speed = speeds[one.run] or arguments.tokens_per_second
        if speed is None:
            unknown.add(names[one.run])
        else:
            hours += one.weight_tokens / speed / 3600
    by_token, by_hour = arguments.price_per_million_tokens, arguments.price_per_hour
    return {
        "rollouts": sum(one.rows for one in draws),
        "weight_in_fresh_rollouts": rollouts,
        "weight_in_fresh_tokens": tokens,
        "hours_to_sample_as_many": None if unknown else hours,
        "runs_of_unknown_speed": sorted(unknown),
        "price_by_tokens": None if by_token is None else by_token * tokens / 1e6,
        "price_by_hours": None if by_hour is None or unknown else by_hour * hours,
    }


def _in_words(found: dict[str, Any]) -> str:
    lines = [
        f"{found['store']}: {count(found['rollouts'])} rollouts of {count(found['tokens'])} tokens by "
        f"{count(found['versions'])} versions of {count(found['runs'])} runs, {byte_size(found['bytes'])}"
    ]
    rows = [("run", "age", "rollouts", "share of effective weight", "uses")]
    for one in found["by_run_and_age"]:
        share = fraction(one["share"])
        if one["share"] is not None and one["measured_rollouts"] < one["rollouts"]:
            share += f" (known of {count(one['measured_rollouts'])})"
        rows.append((one["run"], one["age"], count(one["rollouts"]), share, count(one["uses"])))
    lines += [table(rows)] if len(rows) > 1 else []
    drawn = found["drawn"]
    if not drawn["rollouts"]:
        return "\n".join([*lines, "no run has drawn from it"])
    lines += [
        f"drawn: {count(drawn['rollouts'])} rollouts, each as often as it was drawn",
        f"weight in fresh rollouts: {count(drawn['weight_in_fresh_rollouts'])}, of "
        f"{count(drawn['weight_in_fresh_tokens'])} tokens (what that saves, only a comparison shows: r2vpo compare)",
    ]
    if drawn["runs_of_unknown_speed"]:
        names = ", ".join(drawn["runs_of_unknown_speed"])
        lines.append(
            f"time to sample as many: {NOTHING}, since no log of {names} is in --runs-dir: give --tokens-per-second"
        )
    else:
        lines.append(f"time to sample as many: {duration(3600 * drawn['hours_to_sample_as_many'])}")
    for name, words in (("price_by_tokens", "tokens"), ("price_by_hours", "hours")):
        if drawn[name] is not None:
            lines.append(f"price of as many, by {words}: {significant(drawn[name])}")
    return "\n".join(lines)

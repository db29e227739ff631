"""``r2vpo rollouts show``: a run by its versions, or a group with its texts and scores."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import KEY_SHOWN, add_store, ago, fraction, opened
from r2vpo.cli.table import table
from r2vpo.config.numbers import NOTHING, count, significant
from r2vpo.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from r2vpo.store.asking import StoredRun

IDS_SHOWN = 20
"""Token ids of a text that cannot be decoded."""


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("show", help="a run by its policy versions, or one group with texts and scores")
    parser.add_argument("what", metavar="RUN|GROUP", help="a run's name or key, or a group's number")
    add_store(parser)
    parser.set_defaults(command="rollouts_show:run")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Print the run, or the group if no run has that name.

    Raises:
        UserError: there is neither.
    """
    store = opened(arguments, read_only=True)
    from r2vpo.store import asking
    from r2vpo.store.opening import shown

    what, place = arguments.what, shown(arguments.store)
    with store.reading() as connection:
        if what.isdecimal() and not asking.all_runs(connection, what):
            _show_group(connection, int(what), place)
            return
        for one in asking.select_runs(connection, names=[what], place=place):
            _show_run(connection, one)


def _show_run(connection: Connection, run: StoredRun) -> None:
    from r2vpo.store import asking
    from r2vpo.store.drawn import all_draws, latest_shares

    entries = asking.versions_in(connection, [run.id])
    means = asking.mean_scores(connection, run.id)
    shares = latest_shares(all_draws(connection))
    tags = f", tags {', '.join(run.tags)}" if run.tags else ""
    print(f"{run.name}: {run.kind}, key {run.key}, model {run.model}{tags}, started {ago(run.started)} ago")
    rows = [("version", "weights", "age", "groups", "rollouts", "tokens", "mean score", "share", "uses")]
    for entry in entries:
        scores = "; ".join(f"{significant(mean)} {name}" for name, mean in means.get(entry.id, {}).items())
        rows.append(
            (
                str(entry.number),
                (entry.fingerprint or NOTHING)[:KEY_SHOWN],
                ago(entry.created),
                count(entry.amount.groups),
                count(entry.amount.rollouts),
                count(entry.amount.tokens),
                scores or NOTHING,
                fraction(shares.get(entry.id)),
                count(entry.amount.uses),
            )
        )
    print(table(rows))


def _show_group(connection: Connection, number: int, place: str) -> None:
    from r2vpo.models.stored_tokenizer import tokenizer_of
    from r2vpo.store import asking, drawing

    about = asking.about_group(connection, number)
    if about is None:
        raise UserError(f"store {place}: there is no group {number}, and no run of that name")
    (drawn,) = drawing.read_groups(connection, [number], None)
    (scores,) = asking.scores_of(connection, [number]).values()
    ends = asking.ends_of(connection, number)
    tokenizer, why = tokenizer_of(about.model, about.tokenizer)
    if why is not None:
        print(f"note: token ids instead of texts: {why}")

    def text(ids: list[int]) -> str:
        if tokenizer is not None:
            return str(tokenizer.decode(ids))
        more = f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
        return f"{' '.join(map(str, ids[:IDS_SHOWN]))}{more}"

    print(
        f"group {number} of {about.name} ({about.key[:KEY_SHOWN]}), version {about.number}, temperature "
        f"{about.temperature:g}, {ago(about.created)} ago, drawn in {count(about.uses)} rounds of other runs"
    )
    columns = {name: value for name, value in json.loads(about.columns).items() if name != "prompt"}
    print(f"columns: {json.dumps(columns, ensure_ascii=False)}")
    print(f"\nprompt, {len(drawn.group.prompt_ids)} tokens:\n{text(drawn.group.prompt_ids.tolist())}")
    for position, (row, said, ended) in enumerate(zip(drawn.group.rollouts, scores, ends, strict=True)):
        log_probs = row.rollout_log_probs[row.response_mask]
        least = float(log_probs.min()) if len(log_probs) else None
        how = {True: "ended", False: "cut off", None: "end unknown"}[ended]
        print(
            f"\nresponse {position}, {len(row.response_ids)} tokens, {how}; log-probs: sum "
            f"{significant(float(log_probs.sum()))}, least {significant(least)}"
        )
        for one in said:
            parts = ", ".join(f"{name} {NOTHING if v is None else f'{v:g}'}" for name, v in one.parts.items())
            print(f"  score {one.score:g} by {one.description} ({parts})")
        print(text(row.response_ids.tolist()))

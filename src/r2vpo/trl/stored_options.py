"""What the options of the replay mean for a store."""

from __future__ import annotations

import time

from r2vpo.core.replay_options import ReplayOptions, SourceOptions, moment
from r2vpo.store import RolloutStore, Source
from r2vpo.store.nothing import refuse_empty


def max_lag(options: ReplayOptions) -> int:
    """Return how many versions behind a sampler's policy may be: as many as the replay keeps, and at least one."""
    return max(options.versions, 1)


def open_checked(options: ReplayOptions, *, tokenizer: str, reward_version: str) -> RolloutStore:
    """Open the store of `replay.store`, after checking that `replay.from` finds something in it.

    Args:
        options: With a store.
        tokenizer: Fingerprint of the tokenizer.
        reward_version: Version of the reward.

    Raises:
        UserError: The store cannot be opened, or there is nothing to draw.
    """
    assert options.store is not None, "called only with a store"
    store = RolloutStore(options.store, create=options.from_ is None)
    if options.from_ is not None:
        source = as_source(options.from_, now=time.time())
        refuse_empty(store, source, tokenizer=tokenizer, reward_version=reward_version)
    return store


def as_source(options: SourceOptions, *, now: float) -> Source:
    """Return what a store understands of `replay.from`; ages count back from `now`, in seconds since 1970."""
    newer = None if options.newer_than is None else moment(options.newer_than, now=now)
    return Source(options.runs, newer, options.tags, options.max_age_versions, options.reward)

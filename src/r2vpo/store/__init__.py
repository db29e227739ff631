"""The store of rollouts: a database that outlives runs, into which they write and from which others train again."""

from r2vpo.store.records import Drawn, Sampled, Source
from r2vpo.store.store import RolloutStore

__all__ = ["Drawn", "RolloutStore", "Sampled", "Source"]

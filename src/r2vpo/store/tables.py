"""The tables of the store, the same in SQLite and PostgreSQL.

    runs 1-n versions 1-n groups n-1 prompts
                          groups 1-n rollouts 1-n scores n-1 rewards
    runs, versions 1-n measurements

A group is what one policy version answered to one prompt. Its tokens are one compressed value, `groups.tokens`
(`r2vpo.store.encoding`), because a round draws whole groups; what can be asked of a single answer has a row in
`rollouts`, and what a reward said of it a row in `scores`. Times are seconds since 1970, UTC. What refers to a row is
found by an index, since a removed group takes it along. The id of a removed run, version or group is not given again,
because processes remember ids, and a run draws what was scored before it.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA = 2
"""Number of this form of the tables; raise it with a step in `r2vpo.store.migrations`."""

metadata = MetaData()

# SQLite numbers rows by itself only if the column is called INTEGER.
_Number = BigInteger().with_variant(Integer, "sqlite")

store = Table("store", metadata, Column("schema", Integer, nullable=False))

runs = Table(
    "runs",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),  # what a run resumes by
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),  # training, sampling, import, proxy
    Column("parent", String(64)),  # key of the run whose policies it samples
    Column("model", Text, nullable=False),
    Column("tokenizer", String(64), nullable=False),  # digest of its vocabulary
    Column("recipe", Text),
    Column("tags", JSON, nullable=False),
    Column("started", Float, nullable=False),
    Column("sees", _Number, nullable=False),  # the newest group of others when it started; it draws none after it
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("fingerprint", String(64)),  # digest of the weights, or of what a server calls them
    Column("created", Float, nullable=False),
    Column("pruned_to", Float),  # of an import: answers up to this time were removed, and are not imported again
    UniqueConstraint("run", "number"),
    sqlite_autoincrement=True,
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("ids", LargeBinary, nullable=False),
    Column("columns", Text, nullable=False),  # the row of the data, JSON: what rewards are computed from
)

groups = Table(
    "groups",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("version", ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("number", BigInteger, nullable=False),  # its number in the run
    Column("prompt", ForeignKey("prompts.id"), nullable=False),
    Column("size", Integer, nullable=False),  # rollouts
    Column("length", Integer, nullable=False),  # tokens of all of them
    Column("temperature", Float, nullable=False),
    Column("created", Float, nullable=False),
    Column("uses", Integer, nullable=False, default=0),  # rounds of other runs that have trained on it
    Column("tokens", LargeBinary, nullable=False),
    UniqueConstraint("version", "number"),
    Index("groups_of_prompt", "prompt"),
    sqlite_autoincrement=True,
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("group", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("length", Integer, nullable=False),
    Column("ended", Boolean),  # by an end token; False if it was cut; unknown for some imports
    sqlite_with_rowid=False,
)

rewards = Table(
    "rewards",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("version", String(64), nullable=False, unique=True),  # digest of the functions and their options
    Column("description", Text, nullable=False),
    Column("created", Float, nullable=False),
)

scores = Table(
    "scores",
    metadata,
    Column("group", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("reward", ForeignKey("rewards.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("score", Float, nullable=False),  # the weighted sum
    Column("parts", Text, nullable=False),  # by function, JSON
    Column("since", _Number, nullable=False),  # the newest run when it was written; only later ones use it
    sqlite_with_rowid=False,
)

# The groups that a draw can give, in the order in which it gives them: those whose answers have one score are left out,
# since they carry no gradient, and `place` is random.
signals = Table(
    "signals",
    metadata,
    Column("reward", ForeignKey("rewards.id", ondelete="CASCADE"), primary_key=True),
    Column("version", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("place", BigInteger, primary_key=True),
    Column("group", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("size", Integer, nullable=False),  # the group's rollouts
    Column("since", _Number, nullable=False),  # as that of the scores
    Index("signals_of_group", "group"),
    sqlite_with_rowid=False,
)

draws = Table(
    "draws",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("group", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("position", Integer, nullable=False),  # in the order of the draw
    Index("draws_of_round", "run", "round"),
    Index("draws_of_group", "group"),
    sqlite_with_rowid=False,
)

measurements = Table(
    "measurements",
    metadata,
    Column("run", ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("version", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("rows", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("decisions", Float, nullable=False),  # the sums of `r2vpo.store.worth.Worth`
    Column("weights", Float, nullable=False),
    Column("squares", Float, nullable=False),
    Index("measurements_of_version", "version"),
    sqlite_with_rowid=False,
)

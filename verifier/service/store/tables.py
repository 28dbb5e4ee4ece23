"""The tables. A sample's narrow row is what lists read; what is wide, its record and history, stands beside it."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import Double, TypeEngine

# Names of our own, for the migrations to know constraints by in every database.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s",
    }
)  # fmt: skip
COUNTED: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only what it calls INTEGER
MOMENT: TypeEngine[float] = Double()  # seconds since 1970

MODELS = Table(
    "models", METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("files", JSON, nullable=False),  # name: digest; the model file's own first
    Column("facts", JSON, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Index(None, "owner", "created_at"),
)  # fmt: skip

DATA = Table(
    "data", METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("kind", String(10), nullable=False),  # npz or npy
    Column("count", Integer, nullable=False),
    Column("shape", JSON, nullable=False),
    Column("labelled", Boolean, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Index(None, "owner", "created_at"),
)  # fmt: skip

ARRAYS = Table(
    "arrays", METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Index(None, "owner", "created_at"),
)  # fmt: skip

COMPARISONS = Table(
    "comparisons", METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("idempotency_key", String(200)),
    Column("request", String(64), nullable=False),
    Column("title", String(200), nullable=False),
    Column("runs", JSON, nullable=False),  # their ids, in the order of the models
    Column("created_at", MOMENT, nullable=False),
    UniqueConstraint("owner", "idempotency_key"),
    Index(None, "owner", "created_at"),
)  # fmt: skip

RUNS = Table(
    "runs", METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(80), nullable=False),
    Column("idempotency_key", String(200)),
    Column("request", String(64), nullable=False),  # the digest of what was asked, for its key
    Column("title", String(200), nullable=False),
    Column("model_id", String(40), ForeignKey("models.id"), nullable=False),
    Column("data_id", String(40), nullable=False),
    Column("samples", Text, nullable=False),
    Column("question", String(20), nullable=False),
    Column("radius", Double),
    Column("options", JSON, nullable=False),
    Column("proofs", Boolean, nullable=False),
    Column("time_limit", Double),
    Column("tolerance", Double, nullable=False),
    Column("state", String(12), nullable=False),
    Column("error", Text),
    Column("total", Integer, nullable=False),
    Column("record", JSON, nullable=False),  # what every line of a journal says of the run
    Column("versions", JSON, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("started_at", MOMENT),
    Column("finished_at", MOMENT),
    Column("comparison_id", String(40)),  # what it is a part of, and goes with
    UniqueConstraint("owner", "idempotency_key"),
    Index(None, "owner", "created_at"),
    Index(None, "state"),
    Index(None, "comparison_id"),
)  # fmt: skip

SAMPLES = Table(
    "samples", METADATA,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),  # the sample's index in its data
    Column("place", Integer, nullable=False),  # when its turn is
    Column("state", String(8), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lost", Integer, nullable=False),  # attempts whose worker died
    Column("worker", String(80)),
    Column("label", Integer),
    Column("predicted", Integer),
    Column("verdict", String(14), nullable=False),
    Column("lower", Double, nullable=False),
    Column("upper", Double, nullable=False),
    Column("gap", Double, nullable=False),
    Column("basis", String(10)),
    Column("target", Integer),
    Column("found_by", String(80)),
    Column("engine", String(80)),
    Column("technique", String(80)),
    Column("nodes", BigInteger, nullable=False),
    Column("open_phases", Integer),
    Column("seconds", Double, nullable=False),
    Column("adversary", String(64)),  # the digest of a file
    Column("proof", String(64)),
    Column("why", Text),
    Index(None, "run_id", "state", "place"),
    Index(None, "run_id", "state", "verdict"),
    Index(None, "run_id", "lower", "number"),
    Index(None, "run_id", "upper", "number"),
    Index(None, "run_id", "gap", "number"),
    Index(None, "run_id", "seconds", "number"),
    Index(None, "worker"),
)  # fmt: skip

DETAILS = Table(
    "details", METADATA,
    Column("run_id", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("history", JSON, nullable=False),  # [[seconds, lower, upper], …]
    Column("record", JSON),  # as the command line writes it
    Column("claims", JSON, nullable=False),  # what contradicted the bracket, kept for whoever looks for the fault
)  # fmt: skip

WORKERS = Table(
    "workers", METADATA,
    Column("id", String(80), primary_key=True),
    Column("beats", COUNTED, nullable=False),
    Column("started_at", MOMENT, nullable=False),
)  # fmt: skip

EVENTS = Table(
    "events", METADATA,
    Column("id", COUNTED, primary_key=True, autoincrement=True),
    Column("run_id", String(40), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("number", Integer),
    Column("told", JSON),  # of a bracket; samples and runs are told as they are when somebody listens
    Index(None, "run_id", "id"),
    Index(None, "run_id", "number", "kind"),
    sqlite_autoincrement=True,  # an id that was heard never comes again
)  # fmt: skip

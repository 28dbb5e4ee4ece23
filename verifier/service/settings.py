"""What `plumbline serve` is given, and the limits that hold for everyone."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from encoders.errors import OptionError
from encoders.validation import Natural, NaturalWithZero, Positive, Whole, validated
from verifier.runs.cluster_connection import LOCAL as LOCAL_CLUSTER
from verifier.runs.cluster_connection import check_cluster

MEBIBYTE = 2**20
YIELDING = 10  # how much of a core workers leave to the server, where both want it: who reads is answered first
LOCAL = "local"  # the owner of everything where there are no tokens


def _database(url: str) -> str:
    if not url.startswith(("sqlite:", "postgresql+psycopg:")):
        raise ValueError("give sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME")
    return url


@validated
class Limits:
    """The most that a request, a question and an owner may take; `/limits` shows it."""

    upload_bytes: Natural = 512 * MEBIBYTE
    inputs: Natural = 1_000_000  # of a model
    neurons: Natural = 1_000_000  # of a model
    data_bytes: Natural = 2048 * MEBIBYTE  # of a data set's arrays, unpacked
    samples: Natural = 100_000  # of a run
    open_runs: Natural = 100  # of an owner
    open_samples: Natural = 1_000_000  # of an owner
    seconds_per_sample: Positive = 86_400.0
    memory_per_worker: Natural = 16 * 1024 * MEBIBYTE  # bytes of address space
    reading_seconds: Positive = 120.0  # of one model or data file
    reading_memory: Natural = 8 * 1024 * MEBIBYTE  # bytes of address space
    requests_per_minute: Natural = 6_000  # of an owner
    request_seconds: Positive = 30.0  # between two pieces of a request's body
    attempts: Natural = 5  # of a sample whose worker died


@dataclass(frozen=True)
class Place:
    """Where a worker finds questions and files, and how often it says that it lives."""

    database: str
    files: str
    cache: Path
    beat: float
    limits: Limits


@validated
class Settings:
    """How one service runs. Without a token file everything belongs to one owner, and only this machine is answered."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: Whole = 8642
    database: Annotated[str, AfterValidator(_database)] | None = None
    files: str | None = None  # a folder, or any URL that fsspec knows
    workers: NaturalWithZero = 1  # of this machine
    cluster: str | None = None  # whose workers answer, too
    token_file: Path | None = None
    lease: Positive = 10.0  # seconds without a heartbeat after which a sample is given to another worker
    beat: Positive = 0.5  # seconds between two heartbeats
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise OptionError(f"port {self.port}: give a number from 0 (any that is free) to 65535")
        if self.token_file is None and not self.only_this_machine:
            raise OptionError(
                f"host {self.host}: others than this machine are answered only with tokens; give --token-file FILE, "
                "or leave out --host"
            )
        if self.lease < 3 * self.beat:
            raise OptionError(f"lease {self.lease:g}: give at least three heartbeats ({3 * self.beat:g} seconds)")

        if self.cluster is not None:
            check_cluster(self.cluster)
            away = not self.cluster.startswith(LOCAL_CLUSTER)
            if away and (self.files is None or self.database_url.startswith("sqlite:")):
                raise OptionError(
                    f"cluster {self.cluster}: its workers reach no SQLite file and no folder of this machine; give "
                    "--database postgresql+psycopg://USER@HOST/NAME and --files URL, as they reach them"
                )

    @property
    def only_this_machine(self) -> bool:
        """Whether the address is one that only this machine can reach."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database_url(self) -> str:
        """The database; a file in the data folder where none is named."""
        return self.database or f"sqlite:///{self.data_dir.absolute() / 'plumbline.db'}"

    @property
    def files_url(self) -> str:
        """Where files are kept."""
        return self.files or str(self.data_dir.absolute() / "files")

    @property
    def place(self) -> Place:
        """What workers of this machine are told."""
        return Place(self.database_url, self.files_url, self.cache, self.beat, self.limits)

    @property
    def cache(self) -> Path:
        """Where workers of this machine keep copies of what they use."""
        return self.data_dir.absolute() / "cache"


def shown(limits: Limits) -> dict[str, Any]:
    """The limits as `/limits` shows them."""
    return asdict(limits)

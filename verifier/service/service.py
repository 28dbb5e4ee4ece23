"""Everything that a server holds: its store, its files, its workers, and who listens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verifier.service.access import Tokens
from verifier.service.feed import Feed
from verifier.service.files import Files, array_file, files_at, laid_out, model_folder
from verifier.service.on_cluster import ClusterWorkers
from verifier.service.remembered import Remembered
from verifier.service.settings import Settings
from verifier.service.store.database import connected, migrate
from verifier.service.store.records import BUILT_IN, StoredData, StoredModel, arrays_named
from verifier.service.store.store import Store
from verifier.service.supervisor import Supervisor

DIGITS = "digits"
DIGITS_COUNT = 397
ABANDONED = 3600.0  # seconds after which what was half written belongs to nobody


@dataclass(frozen=True, eq=False)
class Service:
    """One server's parts, for its requests."""

    settings: Settings
    store: Store
    files: Files
    tokens: Tokens
    feed: Feed
    supervisor: Supervisor
    remembered: Remembered = field(default_factory=Remembered)

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """Everything ready, and nothing started."""
        tokens = Tokens.read(settings.token_file)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        migrate(settings.database_url)
        store = Store(connected(settings.database_url))
        elsewhere = None if settings.cluster is None else ClusterWorkers(settings.cluster, settings.place)
        attempts = settings.limits.attempts
        supervisor = Supervisor(store, settings.place, settings.workers, settings.lease, attempts, elsewhere)
        return cls(settings, store, files_at(settings.files_url), tokens, Feed(store), supervisor)

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder for what is being read, gone afterwards."""
        base = self.settings.data_dir.absolute() / "incoming"
        base.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=base))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def data(self, owner: str, key: str) -> StoredData:
        """An owner's data set, or one that is built in."""
        return built_in(owner) if key == DIGITS else self.store.data(owner, key)

    def model_folder(self, model: StoredModel) -> Path:
        """A folder of this machine with a model's files."""
        return model_folder(self.files, model, self.settings.cache)

    def data_source(self, data: StoredData) -> str:
        """A file of this machine with the arrays of a data set, or the name of one that is built in."""
        if data.builtin:
            return data.id
        name = f"data.{data.kind}"
        return str(laid_out(self.files, [(name, data.sha256)], self.settings.cache / "data" / data.sha256) / name)

    def arrays(self, owner: str, options: Mapping[str, Any]) -> dict[str, Path]:
        """Files of this machine with the arrays that options name, by the names of the options."""
        named = arrays_named(options).items()
        return {name: array_file(self.files, self.store.array(owner, key), self.settings.cache) for name, key in named}

    def forget(self, digest: str) -> None:
        """Delete a file that nothing needs any more."""
        if not self.store.used(digest):
            self.files.delete(digest)

    def sweep(self) -> None:
        """Delete what an earlier server had half written when it was killed."""
        for base in (self.settings.data_dir / "incoming", self.settings.cache):
            for path in base.glob("*") if base.is_dir() else ():
                old = time.time() - path.stat().st_mtime > ABANDONED
                if path.name not in ("models", "data", "arrays") and old:
                    shutil.rmtree(path, ignore_errors=True)
                    with contextlib.suppress(OSError):
                        path.unlink()


def built_in(owner: str) -> StoredData:
    """scikit-learn's digits, which every service has."""
    return StoredData(DIGITS, owner, DIGITS, "", BUILT_IN, DIGITS_COUNT, [64], True, 0.0)

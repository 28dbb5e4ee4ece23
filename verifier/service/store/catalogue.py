"""What users keep: models and data sets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Column, Table, delete, insert, or_, select

from verifier.service.errors import ConflictError
from verifier.service.store.common import Transactions
from verifier.service.store.records import Page, StoredData, StoredModel
from verifier.service.store.tables import DATA, MODELS, RUNS, SAMPLES


class Catalogue(Transactions):
    """Models and data sets."""

    def add_model(self, model: StoredModel) -> None:
        """Keep a new model."""
        self._add(MODELS, model)

    def add_data(self, data: StoredData) -> None:
        """Keep a new data set."""
        self._add(DATA, data)

    def model(self, owner: str, key: str) -> StoredModel:
        """An owner's model."""
        return self._owned(MODELS, StoredModel, owner, key, "model")

    def data(self, owner: str, key: str) -> StoredData:
        """An owner's data set."""
        return self._owned(DATA, StoredData, owner, key, "data set")

    def models(self, owner: str, limit: int, cursor: str | None = None, sha256: str | None = None) -> Page[StoredModel]:
        """An owner's models, the latest first."""
        return self._latest(MODELS, StoredModel, owner, limit, cursor, [] if sha256 is None else
                            [MODELS.c.sha256 == sha256])  # fmt: skip

    def data_sets(
        self, owner: str, limit: int, cursor: str | None = None, sha256: str | None = None
    ) -> Page[StoredData]:
        """An owner's data sets, the latest first."""
        return self._latest(DATA, StoredData, owner, limit, cursor, [] if sha256 is None else
                            [DATA.c.sha256 == sha256])  # fmt: skip

    def drop_model(self, owner: str, key: str) -> None:
        """Forget a model that no run is about."""
        self.model(owner, key)
        self._drop(MODELS, key, RUNS.c.model_id, "model")

    def drop_data(self, owner: str, key: str) -> None:
        """Forget a data set that no run is about."""
        self.data(owner, key)
        self._drop(DATA, key, RUNS.c.data_id, "data set")

    def used(self, digest: str) -> bool:
        """Whether anything still needs a file."""
        with self._reading() as connection:
            named = (
                select(SAMPLES.c.number).where(or_(SAMPLES.c.adversary == digest, SAMPLES.c.proof == digest)).limit(1)
            )
            if connection.execute(select(DATA.c.id).where(DATA.c.sha256 == digest).limit(1)).first():
                return True
            if any(digest in files.values() for (files,) in connection.execute(select(MODELS.c.files))):
                return True
            return connection.execute(named).first() is not None

    def _add(self, table: Table, row: StoredModel | StoredData) -> None:
        with self._writing() as connection:
            connection.execute(insert(table).values(**asdict(row)))

    def _drop(self, table: Table, key: str, user: Column[Any], word: str) -> None:
        with self._writing() as connection:
            if connection.execute(select(RUNS.c.id).where(user == key).limit(1)).first() is not None:
                raise ConflictError(f"runs are about this {word}; delete them first")
            connection.execute(delete(table).where(table.c.id == key))

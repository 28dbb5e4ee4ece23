"""What users keep: models, data sets, and arrays that options name."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import ColumnElement, String, Table, cast, delete, insert, or_, select

from verifier.service.errors import ConflictError
from verifier.service.store.common import Transactions
from verifier.service.store.records import Page, StoredArray, StoredData, StoredModel
from verifier.service.store.tables import ARRAYS, DATA, MODELS, RUNS, SAMPLES


class Catalogue(Transactions):
    """Models, data sets and arrays."""

    def add_model(self, model: StoredModel) -> None:
        """Keep a new model."""
        self._add(MODELS, model)

    def add_data(self, data: StoredData) -> None:
        """Keep a new data set."""
        self._add(DATA, data)

    def add_array(self, array: StoredArray) -> None:
        """Keep a new array."""
        self._add(ARRAYS, array)

    def model(self, owner: str, key: str) -> StoredModel:
        """An owner's model."""
        return self._owned(MODELS, StoredModel, owner, key, "model")

    def data(self, owner: str, key: str) -> StoredData:
        """An owner's data set."""
        return self._owned(DATA, StoredData, owner, key, "data set")

    def array(self, owner: str, key: str) -> StoredArray:
        """An owner's array."""
        return self._owned(ARRAYS, StoredArray, owner, key, "array")

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

    def arrays(self, owner: str, limit: int, cursor: str | None = None, sha256: str | None = None) -> Page[StoredArray]:
        """An owner's arrays, the latest first."""
        return self._latest(ARRAYS, StoredArray, owner, limit, cursor, [] if sha256 is None else
                            [ARRAYS.c.sha256 == sha256])  # fmt: skip

    def drop_model(self, owner: str, key: str) -> None:
        """Forget a model that no run is about."""
        self.model(owner, key)
        self._drop(MODELS, key, RUNS.c.model_id == key, "model")

    def drop_data(self, owner: str, key: str) -> None:
        """Forget a data set that no run is about."""
        self.data(owner, key)
        self._drop(DATA, key, RUNS.c.data_id == key, "data set")

    def drop_array(self, owner: str, key: str) -> None:
        """Forget an array that no run's options name."""
        self.array(owner, key)
        self._drop(ARRAYS, key, cast(RUNS.c.options, String).contains(f'"{key}"'), "array")

    def used(self, digest: str) -> bool:
        """Whether anything still needs a file."""
        with self._reading() as connection:
            named = (
                select(SAMPLES.c.number).where(or_(SAMPLES.c.adversary == digest, SAMPLES.c.proof == digest)).limit(1)
            )
            for table in (DATA, ARRAYS):
                if connection.execute(select(table.c.id).where(table.c.sha256 == digest).limit(1)).first():
                    return True
            if any(digest in files.values() for (files,) in connection.execute(select(MODELS.c.files))):
                return True
            return connection.execute(named).first() is not None

    def _add(self, table: Table, row: StoredModel | StoredData | StoredArray) -> None:
        with self._writing() as connection:
            connection.execute(insert(table).values(**asdict(row)))

    def _drop(self, table: Table, key: str, users: ColumnElement[bool], word: str) -> None:
        with self._writing() as connection:
            if connection.execute(select(RUNS.c.id).where(users).limit(1)).first() is not None:
                raise ConflictError(f"runs are about this {word}; delete them first")
            connection.execute(delete(table).where(table.c.id == key))

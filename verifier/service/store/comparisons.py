"""What users ask of several models at once: runs that are kept, and go, together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from verifier.service.errors import ConflictError
from verifier.service.store.common import rows_of
from verifier.service.store.records import AT_WORK, Page, StoredComparison, StoredRun
from verifier.service.store.runs import Runs, Samples
from verifier.service.store.tables import COMPARISONS, RUNS


class Comparisons(Runs):
    """Comparisons, beside the runs that they consist of."""

    def add_comparison(
        self, made: StoredComparison, runs: Sequence[StoredRun], key: str | None, request: str, samples: Samples
    ) -> str:
        """Keep a new comparison with all its runs or with none; returns its id, or that which the key stands for."""
        try:
            with self._writing() as connection:
                values = {**asdict(made), "idempotency_key": key, "request": request}
                connection.execute(insert(COMPARISONS).values(**values))
                for run in runs:
                    self._insert_run(connection, run, None, request, samples)
        except IntegrityError:
            known = None if key is None else self.comparison_of_key(made.owner, key, request)
            if known is None:
                raise ConflictError("one of its models is gone; upload it again") from None
            return known
        return made.id

    def comparison_of_key(self, owner: str, key: str, request: str) -> str | None:
        """The comparison that an owner asked for under a key; another one under the same key is refused."""
        return self._of_key(COMPARISONS, owner, key, request)

    def comparison(self, owner: str, key: str) -> StoredComparison:
        """An owner's comparison."""
        return self._owned(COMPARISONS, StoredComparison, owner, key, "comparison")

    def comparisons(self, owner: str, limit: int, cursor: str | None = None) -> Page[StoredComparison]:
        """An owner's comparisons, the latest first."""
        return self._latest(COMPARISONS, StoredComparison, owner, limit, cursor, [])

    def compared(self, held: Sequence[StoredComparison]) -> list[list[StoredRun]]:
        """The runs of each comparison, in the order that was asked for."""
        query = rows_of(RUNS, StoredRun).where(RUNS.c.comparison_id.in_([one.id for one in held]))
        with self._reading() as connection:
            found = {row.id: StoredRun(*row) for row in connection.execute(query)}
        return [[found[key] for key in one.runs if key in found] for one in held]  # one may be deleted meanwhile

    def drop_comparison(self, owner: str, key: str) -> list[str]:
        """Forget a comparison that is not at work, with its runs; returns the files that they had."""
        held = self.comparison(owner, key)
        with self._writing() as connection:
            at_work = select(RUNS.c.id).where(RUNS.c.comparison_id == key, RUNS.c.state.in_(AT_WORK)).limit(1)
            if connection.execute(at_work).first() is not None:
                raise ConflictError("the comparison is at work; cancel it first")
            digests = [digest for run in held.runs for digest in self._delete_run(connection, run)]
            connection.execute(delete(COMPARISONS).where(COMPARISONS.c.id == key))
        return digests

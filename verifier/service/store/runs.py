"""What users ask: runs and their samples."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from verifier.proofs.why_none import OUT_OF_TIME
from verifier.service.errors import ConflictError, NotThereError
from verifier.service.merging import UNRESOLVED, Asked, told
from verifier.service.store.common import RUN, Transactions, behind, cursor_at, is_open, rows_of
from verifier.service.store.records import (
    AT_WORK,
    Counts,
    Details,
    Page,
    RunState,
    SampleState,
    StoredData,
    StoredModel,
    StoredRun,
    StoredSample,
)
from verifier.service.store.tables import DATA, DETAILS, EVENTS, MODELS, RUNS, SAMPLES

Samples = Sequence[tuple[int, int | None]]
"""The index and, where it is known, the label of each sample."""
ROWS = 1000  # that one statement inserts
SORTS = {
    "index": SAMPLES.c.number, "lower": SAMPLES.c.lower, "upper": SAMPLES.c.upper, "gap": SAMPLES.c.gap,
    "seconds": SAMPLES.c.seconds, "verdict": SAMPLES.c.verdict,
}  # fmt: skip
LATEST = select(
    select(func.max(EVENTS.c.id)).where(EVENTS.c.run_id == RUNS.c.id).scalar_subquery(), RUNS.c.state
).where(RUNS.c.id == bindparam("key"), RUNS.c.owner == bindparam("by"))  # written once: every read asks it


class Runs(Transactions):
    """Runs and their samples."""

    def add_run(self, run: StoredRun, key: str | None, request: str, samples: Samples) -> str:
        """Keep a new run of (index, label) samples; returns its id, or that of the run that the key stands for."""
        try:
            with self._writing() as connection:
                self._insert_run(connection, run, key, request, samples)
        except IntegrityError:
            known = None if key is None else self.run_of_key(run.owner, key, request)
            if known is None:
                raise ConflictError("its model is gone; upload it again") from None
            return known
        return run.id

    def _insert_run(
        self, connection: Connection, run: StoredRun, key: str | None, request: str, samples: Samples
    ) -> None:
        lower, upper = Asked.of(run).nowhere()
        common = {
            "run_id": run.id, "state": SampleState.WAITING, "attempt": 0, "lost": 0, "verdict": "", "lower": lower,
            "upper": upper, "gap": math.inf, "nodes": 0, "seconds": 0.0,
        }  # fmt: skip
        connection.execute(insert(RUNS).values(**asdict(run), idempotency_key=key, request=request))
        for first in range(0, len(samples), ROWS):
            rows = [
                {**common, "place": first + k, "number": number, "label": label}
                for k, (number, label) in enumerate(samples[first : first + ROWS])
            ]
            connection.execute(insert(SAMPLES), rows)
        self._happened(connection, run.id, "run")

    def run_of_key(self, owner: str, key: str, request: str) -> str | None:
        """The run that an owner asked for under a key; another question under the same key is refused."""
        return self._of_key(RUNS, owner, key, request)

    def _of_key(self, table: Table, owner: str, key: str, request: str) -> str | None:
        query = select(table.c.id, table.c.request).where(table.c.owner == owner, table.c.idempotency_key == key)
        with self._reading() as connection:
            found = connection.execute(query).first()
        if found is None:
            return None
        if found.request != request:
            raise ConflictError("this Idempotency-Key stands for another question; use a new one")
        return str(found.id)

    def run(self, owner: str, key: str) -> StoredRun:
        """An owner's run."""
        return self._owned(RUNS, StoredRun, owner, key, "run")

    def latest(self, owner: str, key: str) -> tuple[int, str]:
        """The latest event of an owner's run, and its state: as long as both stay, so does all that is told of it."""
        with self._reading() as connection:
            row = connection.execute(LATEST, {"key": key, "by": owner}).first()
        if row is None:
            raise NotThereError(f"run {key[:40]!r}: there is none")
        return row[0] or 0, row[1]

    def any_run(self, key: str) -> StoredRun:
        """A run, whoever's it is."""
        with self._reading() as connection:
            return self._any_run(connection, key)

    def _any_run(self, connection: Connection, key: str) -> StoredRun:
        row = connection.execute(RUN, {"of_run": key}).first()
        if row is None:
            raise NotThereError(f"run {key!r}: there is none")
        return StoredRun(*row)

    def run_at_work(self, key: str) -> tuple[StoredRun, StoredModel, StoredData | None]:
        """A run with what it is about, for a worker; no data where it is built in."""
        with self._reading() as connection:
            run = self._any_run(connection, key)
            model = connection.execute(rows_of(MODELS, StoredModel).where(MODELS.c.id == run.model_id)).one()
            data = connection.execute(rows_of(DATA, StoredData).where(DATA.c.id == run.data_id)).first()
        return run, StoredModel(*model), None if data is None else StoredData(*data)

    def runs(
        self,
        owner: str,
        limit: int,
        cursor: str | None = None,
        state: str | None = None,
        question: str | None = None,
        model: str | None = None,
    ) -> Page[StoredRun]:
        """An owner's runs, the latest first."""
        wanted = ((RUNS.c.state, state), (RUNS.c.question, question), (RUNS.c.model_id, model))
        where = [column == value for column, value in wanted if value is not None]
        return self._latest(RUNS, StoredRun, owner, limit, cursor, where)

    def counts(self, keys: Sequence[str]) -> dict[str, Counts]:
        """How many samples of each run are where."""
        query = (
            select(SAMPLES.c.run_id, SAMPLES.c.state, SAMPLES.c.verdict, func.count())
            .where(SAMPLES.c.run_id.in_(keys))
            .group_by(SAMPLES.c.run_id, SAMPLES.c.state, SAMPLES.c.verdict)
        )
        states: dict[str, dict[str, int]] = {key: {} for key in keys}
        verdicts: dict[str, dict[str, int]] = {key: {} for key in keys}
        with self._reading() as connection:
            for key, state, verdict, count in connection.execute(query):
                states[key][state] = states[key].get(state, 0) + count
                if verdict and state == SampleState.DONE:
                    verdicts[key][verdict] = verdicts[key].get(verdict, 0) + count
        return {key: Counts(**states[key], verdicts=verdicts[key]) for key in keys}

    def open_of(self, owner: str) -> tuple[int, int]:
        """How many runs and samples of an owner are not finished."""
        runs = select(RUNS.c.id).where(RUNS.c.owner == owner, RUNS.c.state.in_(AT_WORK))
        waiting = (SampleState.WAITING, SampleState.RUNNING)
        with self._reading() as connection:
            count = connection.execute(select(func.count()).select_from(runs.subquery())).scalar_one()
            samples = select(func.count()).where(SAMPLES.c.run_id.in_(runs), SAMPLES.c.state.in_(waiting))
            return count, connection.execute(samples).scalar_one()

    def cancel(self, owner: str, key: str) -> None:
        """Stop a run; workers hear of it with their next heartbeat, and give back what they hold with its bracket."""
        self.run(owner, key)
        with self._writing() as connection:
            changed = connection.execute(
                update(RUNS)
                .where(RUNS.c.id == key, RUNS.c.state.in_(AT_WORK))
                .values(state=RunState.CANCELLED, finished_at=time.time())
            )
            if not changed.rowcount:
                raise ConflictError("the run is not at work; only one that is can be cancelled")
            self._happened(connection, key, "run")

    def resume(self, owner: str, key: str, time_limit: float | None) -> None:
        """Go on with all that is open, from its bracket, and look for proofs that were not found in time.

        Each sample has a new time limit.
        """
        run = self.run(owner, key)
        with self._writing() as connection:
            state = connection.execute(select(RUNS.c.state).where(RUNS.c.id == key).with_for_update()).scalar_one()
            if state in AT_WORK:
                raise ConflictError("the run is at work already; cancel it first, or wait until it has finished")
            if state == RunState.FAILED:
                raise ConflictError("the run was stopped by an alarm; look at what contradicts, and ask anew")
            again = or_(
                and_(SAMPLES.c.state == SampleState.DONE, SAMPLES.c.verdict == UNRESOLVED),
                SAMPLES.c.state == SampleState.FAILED,
                *([_lacks_proof(key)] if run.proofs else []),
            )
            values = {"state": SampleState.WAITING, "worker": None, "lost": 0, "why": None}
            connection.execute(update(SAMPLES).where(SAMPLES.c.run_id == key, again).values(**values))
            if not connection.execute(select(is_open(key))).scalar_one():
                raise ConflictError("every sample has its answer; there is nothing to go on with")
            options = {**run.options, "time_limit": time_limit}
            connection.execute(
                update(RUNS)
                .where(RUNS.c.id == key)
                .values(state=RunState.QUEUED, finished_at=None, time_limit=time_limit, options=options)
            )
            self._happened(connection, key, "run")

    def drop_run(self, owner: str, key: str) -> list[str]:
        """Forget a run that is not at work; returns the files that it had."""
        run = self.run(owner, key)
        if run.comparison_id is not None:
            raise ConflictError(f"the run is part of comparison {run.comparison_id}; delete that")
        if run.state in AT_WORK:
            raise ConflictError("the run is at work; cancel it first")
        with self._writing() as connection:
            return self._delete_run(connection, key)

    def _delete_run(self, connection: Connection, key: str) -> list[str]:
        held = connection.execute(select(SAMPLES.c.adversary, SAMPLES.c.proof).where(SAMPLES.c.run_id == key))
        digests = [digest for row in held for digest in row if digest is not None]
        for table in (SAMPLES, DETAILS, EVENTS):
            connection.execute(delete(table).where(table.c.run_id == key))
        connection.execute(delete(RUNS).where(RUNS.c.id == key))
        return digests

    def samples(
        self,
        run: str,
        limit: int,
        cursor: str | None = None,
        state: str | None = None,
        verdict: str | None = None,
        sort: str = "index",
        descending: bool = False,
    ) -> Page[StoredSample]:
        """Samples of a run in an order, page by page."""
        where = [SAMPLES.c.run_id == run]
        where += [] if state is None else [SAMPLES.c.state == state]
        where += [] if verdict is None else [SAMPLES.c.verdict == verdict]
        column = SORTS[sort]
        order = [column.desc(), SAMPLES.c.number.desc()] if descending else [column, SAMPLES.c.number]
        query = rows_of(SAMPLES, StoredSample).where(*where, *behind(cursor, column, SAMPLES.c.number, descending))
        with self._reading() as connection:
            total = connection.execute(select(func.count()).select_from(SAMPLES).where(*where)).scalar_one()
            rows = [StoredSample(*row) for row in connection.execute(query.order_by(*order).limit(limit + 1))]
        last = rows[limit - 1] if len(rows) > limit else None
        at = None if last is None else cursor_at(getattr(last, column.name), last.number)
        return Page(tuple(rows[:limit]), at, total)

    def sample(self, run: str, number: int) -> tuple[StoredSample, Details]:
        """One sample of a run with what is wide of it."""
        with self._reading() as connection:
            query = rows_of(SAMPLES, StoredSample).where(SAMPLES.c.run_id == run, SAMPLES.c.number == number)
            row = connection.execute(query).first()
            if row is None:
                raise NotThereError(f"sample {number}: the run has no such sample")
            return StoredSample(*row), self._details(connection, run, number)

    def some(self, run: str, numbers: Sequence[int]) -> list[StoredSample]:
        """Samples of a run by their numbers."""
        query = rows_of(SAMPLES, StoredSample).where(SAMPLES.c.run_id == run, SAMPLES.c.number.in_(numbers))
        with self._reading() as connection:
            return [StoredSample(*row) for row in connection.execute(query)]

    def details(self, run: str, numbers: Sequence[int]) -> dict[int, Details]:
        """What is wide of some samples."""
        query = select(DETAILS).where(DETAILS.c.run_id == run, DETAILS.c.number.in_(numbers))
        with self._reading() as connection:
            found = {row.number: Details(row.history, row.record, row.claims) for row in connection.execute(query)}
        return {number: found.get(number, Details()) for number in numbers}

    def histories(self, run: str, numbers: Sequence[int]) -> dict[int, Sequence[Any]]:
        """The brackets of some samples over time, of all that is wide of them."""
        query = select(DETAILS.c.number, DETAILS.c.history)
        query = query.where(DETAILS.c.run_id == run, DETAILS.c.number.in_(numbers))
        with self._reading() as connection:
            found = {row.number: row.history for row in connection.execute(query)}
        return {number: found.get(number, ()) for number in numbers}

    def answers(self, run: str) -> Iterator[tuple[StoredSample, dict[str, Any]]]:
        """All answered samples of a run in their order, each with its line of a journal.

        One whose proof is looked for once more is among them.
        """
        columns = [*rows_of(SAMPLES, StoredSample).selected_columns, DETAILS.c.record]
        joined = SAMPLES.join(DETAILS, and_(DETAILS.c.run_id == SAMPLES.c.run_id, DETAILS.c.number == SAMPLES.c.number))
        last = -1
        while True:
            answered = or_(SAMPLES.c.state == SampleState.DONE, SAMPLES.c.verdict.not_in(("", UNRESOLVED)))
            where = (SAMPLES.c.run_id == run, answered, SAMPLES.c.number > last)
            query = select(*columns).select_from(joined).where(*where).order_by(SAMPLES.c.number).limit(ROWS)
            with self._reading() as connection:
                rows = connection.execute(query).all()
            for *sample, record in rows:
                held = StoredSample(*sample)
                last = held.number
                yield held, told(record, held)
            if len(rows) < ROWS:
                return

    def brackets(self, run: str) -> list[tuple[float, float, str]]:
        """The (lower, upper, verdict) of every sample of a run."""
        query = select(SAMPLES.c.lower, SAMPLES.c.upper, SAMPLES.c.verdict).where(SAMPLES.c.run_id == run)
        with self._reading() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def _lacks_proof(run: str) -> ColumnElement[bool]:
    """Whether a sample has an answer whose proof was not found in time."""
    why = DETAILS.c.record[("proof", "why")].as_string()
    late = select(DETAILS.c.number).where(DETAILS.c.run_id == run, why == OUT_OF_TIME)
    return and_(SAMPLES.c.state == SampleState.DONE, SAMPLES.c.proof.is_(None), SAMPLES.c.number.in_(late))

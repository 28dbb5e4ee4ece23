"""The operations on the database. It is the truth: whoever is killed, whatever it says is true afterwards.

A worker takes samples by lease: its row counts its heartbeats, and whoever sees that they have stopped (by a clock that
nobody can set) gives its samples back. Everything that a worker says is merged, and merging twice is merging once.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError

from encoders.errors import SoundnessError
from verifier.service.errors import ConflictError, NotThereError, UnavailableError
from verifier.service.merging import UNRESOLVED, Asked, merged, told
from verifier.service.store.database import READING
from verifier.service.store.records import (
    AT_WORK,
    Claimed,
    Counts,
    Details,
    Event,
    Finding,
    Page,
    RunState,
    SampleState,
    StoredData,
    StoredModel,
    StoredRun,
    StoredSample,
)
from verifier.service.store.tables import DATA, DETAILS, EVENTS, MODELS, RUNS, SAMPLES, WORKERS

R = TypeVar("R")
POINTS = 200  # of a history, at most
ORDERED = 7_580_422  # PostgreSQL's lock around new events: their ids are seen in their order
ROWS = 1000  # that one statement inserts
SORTS = {
    "index": SAMPLES.c.number, "lower": SAMPLES.c.lower, "upper": SAMPLES.c.upper, "gap": SAMPLES.c.gap,
    "seconds": SAMPLES.c.seconds, "verdict": SAMPLES.c.verdict,
}  # fmt: skip


class Store:
    """The database of one service, for one process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    # Models and data

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

    # Runs

    def add_run(self, run: StoredRun, key: str | None, request: str, samples: Sequence[tuple[int, int | None]]) -> str:
        """Keep a new run of (index, label) samples; returns its id, or that of the run that the key stands for."""
        asked = asked_of(run)
        lower, upper = asked.nowhere()
        common = {
            "run_id": run.id, "state": SampleState.WAITING, "attempt": 0, "lost": 0, "verdict": "", "lower": lower,
            "upper": upper, "gap": math.inf, "nodes": 0, "seconds": 0.0,
        }  # fmt: skip
        try:
            with self._writing() as connection:
                values = {**asdict(run), "idempotency_key": key, "request": request}
                connection.execute(insert(RUNS).values(**values))
                for first in range(0, len(samples), ROWS):
                    rows = [
                        {**common, "place": first + k, "number": number, "label": label}
                        for k, (number, label) in enumerate(samples[first : first + ROWS])
                    ]
                    connection.execute(insert(SAMPLES), rows)
                self._happened(connection, run.id, "run")
        except IntegrityError:
            known = None if key is None else self.run_of_key(run.owner, key, request)
            if known is None:
                raise ConflictError("its model is gone; upload it again") from None
            return known
        return run.id

    def run_of_key(self, owner: str, key: str, request: str) -> str | None:
        """The run that an owner asked for under a key; another question under the same key is refused."""
        query = select(RUNS.c.id, RUNS.c.request).where(RUNS.c.owner == owner, RUNS.c.idempotency_key == key)
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

    def run_at_work(self, key: str) -> tuple[StoredRun, StoredModel, StoredData | None]:
        """A run with what it is about, for a worker; no data where it is built in."""
        with self._reading() as connection:
            run = connection.execute(_all(RUNS, StoredRun).where(RUNS.c.id == key)).first()
            if run is None:
                raise NotThereError(f"run {key!r}: there is none")
            model = connection.execute(_all(MODELS, StoredModel).where(MODELS.c.id == run.model_id)).one()
            data = connection.execute(_all(DATA, StoredData).where(DATA.c.id == run.data_id)).first()
        return StoredRun(*run), StoredModel(*model), None if data is None else StoredData(*data)

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
        """Go on with all that is open, from its bracket, with a new time limit for each sample."""
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
            )
            values = {"state": SampleState.WAITING, "worker": None, "lost": 0, "why": None}
            connection.execute(update(SAMPLES).where(SAMPLES.c.run_id == key, again).values(**values))
            if not connection.execute(select(_left(key))).scalar_one():
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
        if run.state in AT_WORK:
            raise ConflictError("the run is at work; cancel it first")
        with self._writing() as connection:
            held = connection.execute(select(SAMPLES.c.adversary, SAMPLES.c.proof).where(SAMPLES.c.run_id == key))
            digests = [digest for row in held for digest in row if digest is not None]
            for table in (SAMPLES, DETAILS, EVENTS):
                connection.execute(delete(table).where(table.c.run_id == key))
            connection.execute(delete(RUNS).where(RUNS.c.id == key))
        return digests

    # Samples

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
        query = _all(SAMPLES, StoredSample).where(*where, *_after(cursor, column, SAMPLES.c.number, descending))
        with self._reading() as connection:
            total = connection.execute(select(func.count()).select_from(SAMPLES).where(*where)).scalar_one()
            rows = [StoredSample(*row) for row in connection.execute(query.order_by(*order).limit(limit + 1))]
        last = rows[limit - 1] if len(rows) > limit else None
        at = None if last is None else _cursor(getattr(last, column.name), last.number)
        return Page(tuple(rows[:limit]), at, total)

    def sample(self, run: str, number: int) -> tuple[StoredSample, Details]:
        """One sample of a run with what is wide of it."""
        with self._reading() as connection:
            query = _all(SAMPLES, StoredSample).where(SAMPLES.c.run_id == run, SAMPLES.c.number == number)
            row = connection.execute(query).first()
            if row is None:
                raise NotThereError(f"sample {number}: the run has no such sample")
            return StoredSample(*row), self._details(connection, run, number)

    def some(self, run: str, numbers: Sequence[int]) -> list[StoredSample]:
        """Samples of a run by their numbers."""
        query = _all(SAMPLES, StoredSample).where(SAMPLES.c.run_id == run, SAMPLES.c.number.in_(numbers))
        with self._reading() as connection:
            return [StoredSample(*row) for row in connection.execute(query)]

    def details(self, run: str, numbers: Sequence[int]) -> dict[int, Details]:
        """What is wide of some samples."""
        query = select(DETAILS).where(DETAILS.c.run_id == run, DETAILS.c.number.in_(numbers))
        with self._reading() as connection:
            found = {row.number: Details(row.history, row.record, row.claims) for row in connection.execute(query)}
        return {number: found.get(number, Details()) for number in numbers}

    def answers(self, run: str) -> Iterator[tuple[StoredSample, dict[str, Any]]]:
        """All finished samples of a run in their order, each with its line of a journal."""
        columns = [*_all(SAMPLES, StoredSample).selected_columns, DETAILS.c.record]
        joined = SAMPLES.join(DETAILS, and_(DETAILS.c.run_id == SAMPLES.c.run_id, DETAILS.c.number == SAMPLES.c.number))
        last = -1
        while True:
            where = (SAMPLES.c.run_id == run, SAMPLES.c.state == SampleState.DONE, SAMPLES.c.number > last)
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

    # Workers

    def register(self, worker: str) -> None:
        """A worker is there, and takes samples from now on."""
        with self._writing() as connection:
            known = connection.execute(select(WORKERS.c.id).where(WORKERS.c.id == worker)).first()
            if known is None:
                connection.execute(insert(WORKERS).values(id=worker, beats=0, started_at=time.time()))

    def claim(self, worker: str, appetite: Mapping[str, int]) -> list[Claimed]:
        """Take waiting samples of one run: of the one that fewest workers are busy with.

        As many as the worker takes of that run (one, where it does not know it yet), and no more than leave the other
        workers theirs. A sample whose worker died is taken alone: if it was the reason, it costs nobody else.
        """
        busy = (
            select(func.count())
            .where(SAMPLES.c.run_id == RUNS.c.id, SAMPLES.c.state == SampleState.RUNNING)
            .scalar_subquery()
        )
        waits = exists().where(SAMPLES.c.run_id == RUNS.c.id, SAMPLES.c.state == SampleState.WAITING)
        next_run = select(RUNS.c.id).where(RUNS.c.state.in_(AT_WORK), waits).order_by(busy, RUNS.c.created_at).limit(1)
        with self._reading() as connection:
            run = connection.execute(next_run).scalar()
            if run is None:
                return []
            limit = appetite.get(run, 1)
            if limit > 1:
                left = select(SAMPLES.c.number).where(SAMPLES.c.run_id == run, SAMPLES.c.state == SampleState.WAITING)
                workers = connection.execute(select(func.count()).select_from(WORKERS)).scalar_one()
                some = left.limit(2 * limit * max(1, workers)).subquery()
                waiting = connection.execute(select(func.count()).select_from(some)).scalar_one()
                limit = max(1, min(limit, -(-waiting // (2 * max(1, workers)))))
        wanted = (
            _all(SAMPLES, StoredSample)
            .where(SAMPLES.c.run_id == run, SAMPLES.c.state == SampleState.WAITING)
            .order_by(SAMPLES.c.place)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._writing() as connection:
            state = connection.execute(select(RUNS.c.state).where(RUNS.c.id == run)).scalar()
            if state not in AT_WORK:
                return []
            rows = [StoredSample(*row) for row in connection.execute(wanted)]
            lost = next((k for k, row in enumerate(rows) if row.lost), len(rows))
            rows = rows[: max(1, lost)]
            if not rows:
                return []
            numbers = [row.number for row in rows]
            connection.execute(
                update(SAMPLES)
                .where(SAMPLES.c.run_id == run, SAMPLES.c.number.in_(numbers))
                .values(state=SampleState.RUNNING, worker=worker, attempt=SAMPLES.c.attempt + 1)
            )
            started = connection.execute(
                update(RUNS)
                .where(RUNS.c.id == run, RUNS.c.state == RunState.QUEUED)
                .values(state=RunState.RUNNING, started_at=func.coalesce(RUNS.c.started_at, time.time()))
            )
            if started.rowcount:
                self._happened(connection, run, "run")
            self._happened(connection, run, "sample", *numbers)
        return [
            Claimed(run, row.number, row.attempt + 1, row.lower, row.upper, row.basis, row.adversary) for row in rows
        ]

    def beat(self, worker: str, found: Mapping[tuple[str, int], Finding]) -> set[tuple[str, int]]:
        """A heartbeat with the brackets that moved; returns the samples that the worker is to go on with."""
        alarms: list[SoundnessError] = []
        with self._writing() as connection:
            alive = update(WORKERS).where(WORKERS.c.id == worker).values(beats=WORKERS.c.beats + 1)
            if not connection.execute(alive).rowcount:  # it was taken for dead, as when its machine slept
                connection.execute(insert(WORKERS).values(id=worker, beats=0, started_at=time.time()))
            for (run, number), finding in found.items():
                held = self._held(connection, run, number)
                if held is None or held.state not in (SampleState.RUNNING, SampleState.WAITING):
                    continue
                after = self._merge(connection, held, finding, alarms)
                if (after.lower, after.upper) == (held.lower, held.upper) and finding.technique == held.technique:
                    continue
                moved = {
                    "index": number, "lower": _number(after.lower), "upper": _number(after.upper),
                    "nodes": finding.nodes, "engine": after.engine, "technique": finding.technique,
                    "seconds": round(finding.seconds, 3),
                }  # fmt: skip
                self._happened(connection, run, "bracket", number, told=moved)
            at_work = (
                select(SAMPLES.c.run_id, SAMPLES.c.number)
                .join(RUNS, RUNS.c.id == SAMPLES.c.run_id)
                .where(SAMPLES.c.worker == worker, SAMPLES.c.state == SampleState.RUNNING, RUNS.c.state.in_(AT_WORK))
            )
            return {(row[0], row[1]) for row in connection.execute(at_work)}

    def finish(self, worker: str, run: str, number: int, finding: Finding) -> bool:
        """A sample's answer, from whoever has it; False where it contradicts what is known, and stopped the run."""
        alarms: list[SoundnessError] = []
        with self._writing() as connection:
            state = connection.execute(select(RUNS.c.state).where(RUNS.c.id == run).with_for_update()).scalar()
            held = self._held(connection, run, number)
            if state is None or held is None:  # deleted meanwhile
                return True
            # Only the worker that holds a sample may say that it stays open; what is closed is closed by anyone.
            ours = held.worker == worker and held.state == SampleState.RUNNING
            after = self._merge(connection, held, finding, alarms)
            closed = after.verdict not in ("", UNRESOLVED)
            if not alarms and (closed or ours):
                self._set(connection, run, number, state=SampleState.DONE, worker=None)
                self._told(connection, run, number)
                self._settle(connection, run)
        return not alarms

    def give_back(self, worker: str, run: str, number: int, finding: Finding | None) -> None:
        """A sample that a worker does not go on with, with the bracket that it has come to."""
        with self._writing() as connection:
            held = self._held(connection, run, number)
            if held is None:
                return
            if finding is not None:
                self._merge(connection, held, finding, [])
            if held.worker == worker and held.state == SampleState.RUNNING:
                self._set(connection, run, number, state=SampleState.WAITING, worker=None)
                self._told(connection, run, number)

    def fail(self, worker: str, run: str, number: int, why: str, alarm: bool = False) -> None:
        """A sample that no answer comes of, and why; an alarm stops the whole run."""
        with self._writing() as connection:
            connection.execute(select(RUNS.c.id).where(RUNS.c.id == run).with_for_update())
            held = self._held(connection, run, number)
            if held is None:
                return
            if held.worker == worker and held.state == SampleState.RUNNING:
                self._set(connection, run, number, state=SampleState.FAILED, worker=None, why=why)
                self._told(connection, run, number)
            if alarm:
                self._stop(connection, run, why)
            self._settle(connection, run)

    def beats(self) -> dict[str, int]:
        """How often each worker has said that it lives."""
        with self._reading() as connection:
            return {row.id: row.beats for row in connection.execute(select(WORKERS.c.id, WORKERS.c.beats))}

    def abandon(self, worker: str, attempts: int) -> None:
        """Give back what a dead worker held; a sample whose workers keep dying has failed."""
        held = (SAMPLES.c.worker == worker, SAMPLES.c.state == SampleState.RUNNING)
        with self._writing() as connection:
            rows = connection.execute(
                select(SAMPLES.c.run_id, SAMPLES.c.number, SAMPLES.c.lost).where(*held).with_for_update()
            ).all()
            for run, number, lost in rows:
                values: dict[str, Any] = {"state": SampleState.WAITING, "worker": None, "lost": lost + 1}
                if lost + 1 >= attempts:
                    why = f"its worker died {lost + 1} times, as for want of memory; ask it of a larger machine"
                    values |= {"state": SampleState.FAILED, "why": why}
                self._set(connection, run, number, **values)
                self._told(connection, run, number)
                self._settle(connection, run)
            connection.execute(delete(WORKERS).where(WORKERS.c.id == worker))

    # Events

    def last_event(self) -> int:
        """The latest event's id."""
        with self._reading() as connection:
            return connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0

    def events(self, after: int, limit: int, run: str | None = None) -> list[Event]:
        """What has happened since an event, to one run or to all."""
        query = select(EVENTS.c.id, EVENTS.c.run_id, EVENTS.c.kind, EVENTS.c.number, EVENTS.c.told)
        query = query.where(EVENTS.c.id > after).order_by(EVENTS.c.id).limit(limit)
        with self._reading() as connection:
            rows = connection.execute(query if run is None else query.where(EVENTS.c.run_id == run))
            return [Event(*row) for row in rows]

    def ping(self) -> None:
        """Raise where the database does not answer."""
        with self._reading() as connection:
            connection.execute(text("SELECT 1"))

    def tally(self) -> dict[str, dict[str, int]]:
        """How many runs and samples there are in each state, and workers."""
        with self._reading() as connection:
            runs = connection.execute(select(RUNS.c.state, func.count()).group_by(RUNS.c.state))
            held = {"runs": {row[0]: row[1] for row in runs}}
            samples = connection.execute(select(SAMPLES.c.state, func.count()).group_by(SAMPLES.c.state))
            held["samples"] = {row[0]: row[1] for row in samples}
            workers = connection.execute(select(func.count()).select_from(WORKERS)).scalar_one()
            return held | {"workers": {"alive": workers}}

    # Inside

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self.engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise UnavailableError(f"the database takes nothing now ({_cause(error)}); ask again later") from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(**{READING: True}) as connection:
                yield connection
        except (OperationalError, InterfaceError) as error:
            raise UnavailableError(f"the database does not answer ({_cause(error)}); ask again later") from error

    def _add(self, table: Table, row: StoredModel | StoredData) -> None:
        with self._writing() as connection:
            connection.execute(insert(table).values(**asdict(row)))

    def _owned(self, table: Table, kind: Callable[..., R], owner: str, key: str, word: str) -> R:
        with self._reading() as connection:
            row = connection.execute(_all(table, kind).where(table.c.id == key, table.c.owner == owner)).first()
        if row is None:
            raise NotThereError(f"{word} {key[:40]!r}: there is none")
        return kind(*row)

    def _latest(
        self, table: Table, kind: type[R], owner: str, limit: int, cursor: str | None, where: list[ColumnElement[bool]]
    ) -> Page[R]:
        where = [table.c.owner == owner, *where]
        query = _all(table, kind).where(*where, *_after(cursor, table.c.created_at, table.c.id, True))
        query = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
        with self._reading() as connection:
            total = connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()
            rows: list[Any] = [kind(*row) for row in connection.execute(query)]
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(tuple(rows[:limit]), None if last is None else _cursor(last.created_at, last.id), total)

    def _drop(self, table: Table, key: str, user: Column[Any], word: str) -> None:
        with self._writing() as connection:
            if connection.execute(select(RUNS.c.id).where(user == key).limit(1)).first() is not None:
                raise ConflictError(f"runs are about this {word}; delete them first")
            connection.execute(delete(table).where(table.c.id == key))

    def _held(self, connection: Connection, run: str, number: int) -> StoredSample | None:
        query = _all(SAMPLES, StoredSample).where(SAMPLES.c.run_id == run, SAMPLES.c.number == number)
        row = connection.execute(query.with_for_update()).first()
        return None if row is None else StoredSample(*row)

    def _details(self, connection: Connection, run: str, number: int) -> Details:
        query = select(DETAILS).where(DETAILS.c.run_id == run, DETAILS.c.number == number)
        row = connection.execute(query).first()
        return Details() if row is None else Details(row.history, row.record, row.claims)

    def _merge(
        self, connection: Connection, held: StoredSample, finding: Finding, alarms: list[SoundnessError]
    ) -> StoredSample:
        """Write down the best of what is known and what was found; what contradicts stops the run, and is kept."""
        run = connection.execute(_all(RUNS, StoredRun).where(RUNS.c.id == held.run_id)).one()
        details = self._details(connection, held.run_id, held.number)
        try:
            after = merged(held, finding, asked_of(StoredRun(*run)))
        except SoundnessError as alarm:
            alarms.append(alarm)
            claim = {name: _number(value) for name, value in asdict(finding).items()}
            self._keep(connection, held, replace(details, claims=[*details.claims, claim]))
            self._stop(connection, held.run_id, f"SOUNDNESS ALARM: {alarm}; trust nothing of this run")
            return held
        changed = {one.name: getattr(after, one.name) for one in fields(after)}
        self._set(connection, held.run_id, held.number, **changed)
        record = details.record
        if finding.record is not None and (record is None or record["verdict"] == UNRESOLVED):
            record = finding.record
        history = [*details.history]
        point = [round(finding.seconds, 4), _number(after.lower), _number(after.upper)]
        if not history or history[-1][1:] != point[1:] or finding.record is not None:
            history.append(point)
        self._keep(connection, held, replace(details, history=thinned(history), record=record))
        return after

    def _keep(self, connection: Connection, held: StoredSample, details: Details) -> None:
        where = (DETAILS.c.run_id == held.run_id, DETAILS.c.number == held.number)
        values = {"history": list(details.history), "record": details.record, "claims": list(details.claims)}
        if not connection.execute(update(DETAILS).where(*where).values(**values)).rowcount:
            connection.execute(insert(DETAILS).values(run_id=held.run_id, number=held.number, **values))

    def _set(self, connection: Connection, run: str, number: int, /, **values: Any) -> None:
        where = (SAMPLES.c.run_id == run, SAMPLES.c.number == number)
        connection.execute(update(SAMPLES).where(*where).values(**values))

    def _stop(self, connection: Connection, run: str, why: str) -> None:
        """Stop a run for good."""
        values = {"state": RunState.FAILED, "error": why, "finished_at": time.time()}
        connection.execute(update(RUNS).where(RUNS.c.id == run).values(**values))
        self._happened(connection, run, "run")

    def _settle(self, connection: Connection, run: str) -> None:
        """A run whose last sample ended has finished; its row is locked, or the last two would overlook each other."""
        state = connection.execute(select(RUNS.c.state).where(RUNS.c.id == run).with_for_update()).scalar()
        if state in AT_WORK and not connection.execute(select(_left(run))).scalar_one():
            values = {"state": RunState.FINISHED, "finished_at": time.time()}
            connection.execute(update(RUNS).where(RUNS.c.id == run).values(**values))
            self._happened(connection, run, "run")

    def _told(self, connection: Connection, run: str, number: int) -> None:
        """A sample began or ended: whoever listens is told of it whole, so that its brackets need not be kept."""
        where = (EVENTS.c.run_id == run, EVENTS.c.number == number)
        connection.execute(delete(EVENTS).where(*where))
        self._happened(connection, run, "sample", number)

    def _happened(
        self, connection: Connection, run: str, kind: str, *numbers: int, told: dict[str, Any] | None = None
    ) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ORDERED})
        rows = [{"run_id": run, "kind": kind, "number": number, "told": told} for number in numbers or (None,)]
        connection.execute(insert(EVENTS), rows)


def asked_of(run: StoredRun) -> Asked:
    """What of a run says when a bracket is closed."""
    return Asked(run.radius if run.question == "verify" else None, run.tolerance, run.question == "margin")


def thinned(history: list[Any]) -> list[Any]:
    """A history of at most `POINTS` points: where it has more, every second one of the older half goes."""
    if len(history) <= POINTS:
        return history
    half = len(history) // 2
    return [*history[:half:2], *history[half:]]


def _left(run: str) -> ColumnElement[bool]:
    """Whether a run has samples that wait or are worked on."""
    open_states = (SampleState.WAITING, SampleState.RUNNING)
    return exists().where(SAMPLES.c.run_id == run, SAMPLES.c.state.in_(open_states))


def _all(table: Table, kind: Any) -> Select[Any]:
    """A query of the columns of a record, in its order."""
    return _selected(table, kind)


@cache
def _selected(table: Table, kind: Any) -> Select[Any]:
    return select(*(table.c[one.name] for one in fields(kind)))


def _cursor(value: Any, key: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps([_number(value), key]).encode()).decode().rstrip("=")


def _after(
    cursor: str | None, column: ColumnElement[Any], key: ColumnElement[Any], descending: bool
) -> list[ColumnElement[bool]]:
    """The rows behind a cursor, in the order of a column and, where it is equal, of a key."""
    if cursor is None:
        return []
    try:
        value, last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        kind = column.type.python_type
        value, last = (float(value) if kind is float else kind(value)), key.type.python_type(last)
    except (ValueError, TypeError, OverflowError):
        raise NotThereError("cursor: give the `next` of a list, unchanged") from None
    further = (column < value, key < last) if descending else (column > value, key > last)
    return [or_(further[0], and_(column == value, further[1]))]


def _number(value: Any) -> Any:
    """Strict JSON has no infinity: it is a text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cause(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())[:200]

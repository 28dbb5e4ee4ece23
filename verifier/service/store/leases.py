"""What workers say and take.

A worker takes samples by lease: its row counts its heartbeats, and whoever sees that they have stopped (by a clock that
nobody can set) gives its samples back. Everything that a worker says is merged, and merging twice is merging once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from encoders.errors import SoundnessError
from verifier.service.merging import UNRESOLVED, Asked, merged
from verifier.service.store.common import RUN, Transactions, is_open, json_number, rows_of
from verifier.service.store.records import (
    AT_WORK,
    Claimed,
    Details,
    Finding,
    RunState,
    SampleState,
    StoredRun,
    StoredSample,
)
from verifier.service.store.tables import DETAILS, EVENTS, RUNS, SAMPLES, WORKERS

POINTS = 200  # of a history, at most

# Statements are written once: to put one together takes longer than to execute it, and each sample needs twenty.
_SAMPLE = (SAMPLES.c.run_id == bindparam("of_run"), SAMPLES.c.number == bindparam("of_number"))
_DETAIL = (DETAILS.c.run_id == bindparam("of_run"), DETAILS.c.number == bindparam("of_number"))
_OF_RUN = RUNS.c.id == bindparam("of_run")
_HELD = rows_of(SAMPLES, StoredSample).where(*_SAMPLE).with_for_update()
_SET = update(SAMPLES).where(*_SAMPLE)
_KEPT = update(DETAILS).where(*_DETAIL)
_TOLD = delete(EVENTS).where(EVENTS.c.run_id == bindparam("of_run"), EVENTS.c.number == bindparam("of_number"))
_RUN_ALONE = RUN.with_for_update()
_STATE = select(RUNS.c.state).where(_OF_RUN)
_STATE_ALONE = _STATE.with_for_update()
_SET_RUN = update(RUNS).where(_OF_RUN)
_OPEN = select(is_open(bindparam("of_run")))
_NEXT = (
    rows_of(SAMPLES, StoredSample)
    .where(SAMPLES.c.run_id == bindparam("of_run"), SAMPLES.c.state == SampleState.WAITING)
    .order_by(SAMPLES.c.place)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_NEXT_UNHURT = _NEXT.where(SAMPLES.c.lost == 0)
_ALIVE = update(WORKERS).where(WORKERS.c.id == bindparam("of_worker")).values(beats=WORKERS.c.beats + 1)
_WANTED = (
    select(SAMPLES.c.run_id, SAMPLES.c.number)
    .join(RUNS, RUNS.c.id == SAMPLES.c.run_id)
    .where(
        SAMPLES.c.worker == bindparam("of_worker"), SAMPLES.c.state == SampleState.RUNNING, RUNS.c.state.in_(AT_WORK)
    )
)


class Leases(Transactions):
    """Samples that workers hold, and what they find."""

    def register(self, worker: str) -> None:
        """A worker is there, and takes samples from now on."""
        with self._writing() as connection:
            known = connection.execute(select(WORKERS.c.id).where(WORKERS.c.id == worker)).first()
            if known is None:
                connection.execute(insert(WORKERS).values(id=worker, beats=0, started_at=time.time()))

    def claim(self, worker: str, of: str | None = None) -> Claimed | None:
        """Take a waiting sample: the next one of a run, or of the run that fewest workers are busy with.

        A sample whose worker died is never the next one of a run that a worker is busy with already: it is taken alone,
        so that, if it was the reason, it costs nobody else.
        """
        run = self._neediest() if of is None else of
        if run is None:
            return None
        with self._writing() as connection:
            state = connection.execute(_STATE, {"of_run": run}).scalar()
            wanted = _NEXT if of is None else _NEXT_UNHURT
            row = connection.execute(wanted, {"of_run": run}).first() if state in AT_WORK else None
            if row is None:
                return None
            held = StoredSample(*row)
            attempt = held.attempt + 1
            self._set(connection, run, held.number, state=SampleState.RUNNING, worker=worker, attempt=attempt)
            if state == RunState.QUEUED:
                started = connection.execute(
                    update(RUNS)
                    .where(RUNS.c.id == run, RUNS.c.state == RunState.QUEUED)
                    .values(state=RunState.RUNNING, started_at=func.coalesce(RUNS.c.started_at, time.time()))
                )
                if started.rowcount:
                    self._happened(connection, run, "run")
            self._happened(connection, run, "sample", held.number)
        return Claimed(run, held.number, attempt, held.lost, held.lower, held.upper, held.basis, held.adversary)

    def _neediest(self) -> str | None:
        """The run with waiting samples that fewest workers are busy with; of several the oldest."""
        busy = (
            select(func.count())
            .where(SAMPLES.c.run_id == RUNS.c.id, SAMPLES.c.state == SampleState.RUNNING)
            .scalar_subquery()
        )
        waits = exists().where(SAMPLES.c.run_id == RUNS.c.id, SAMPLES.c.state == SampleState.WAITING)
        query = select(RUNS.c.id).where(RUNS.c.state.in_(AT_WORK), waits).order_by(busy, RUNS.c.created_at).limit(1)
        with self._reading() as connection:
            return connection.execute(query).scalar()

    def beat(self, worker: str, found: Mapping[tuple[str, int], Finding]) -> set[tuple[str, int]]:
        """A heartbeat with the brackets that moved; returns the samples that the worker is to go on with."""
        alarms: list[SoundnessError] = []
        with self._writing() as connection:
            known = connection.execute(_ALIVE, {"of_worker": worker}).rowcount
            if not known:  # it was taken for dead, as when its machine slept
                connection.execute(insert(WORKERS).values(id=worker, beats=0, started_at=time.time()))
            runs = {run: self._run(connection, run) for run in sorted({run for run, _ in found})}
            for (run, number), finding in found.items():
                asked, held = runs[run], self._held(connection, run, number)
                if asked is None or held is None or held.state not in (SampleState.RUNNING, SampleState.WAITING):
                    continue
                after = self._merge(connection, Asked.of(asked), held, finding, alarms)
                if (after.lower, after.upper) == (held.lower, held.upper) and finding.technique == held.technique:
                    continue
                moved = {
                    "index": number, "lower": json_number(after.lower), "upper": json_number(after.upper),
                    "nodes": finding.nodes, "engine": after.engine, "technique": finding.technique,
                    "seconds": round(finding.seconds, 3),
                }  # fmt: skip
                self._happened(connection, run, "bracket", number, told=moved)
            return {(row[0], row[1]) for row in connection.execute(_WANTED, {"of_worker": worker})}

    def finish(self, worker: str, run: str, number: int, finding: Finding) -> bool:
        """A sample's answer, from whoever has it; False where it contradicts what is known, and stopped the run."""
        alarms: list[SoundnessError] = []
        with self._writing() as connection:
            asked, held = self._run(connection, run, lock=True), self._held(connection, run, number)
            if asked is None or held is None:  # deleted meanwhile
                return True
            # Only the worker that holds a sample may say that it stays open; what is closed is closed by anyone.
            ours = held.worker == worker and held.state == SampleState.RUNNING
            after = self._merge(connection, Asked.of(asked), held, finding, alarms)
            closed = after.verdict not in ("", UNRESOLVED)
            if not alarms and (closed or ours):
                self._set(connection, run, number, state=SampleState.DONE, worker=None)
                self._told(connection, run, number)
                self._settle(connection, run)
        return not alarms

    def give_back(self, worker: str, run: str, number: int, finding: Finding | None) -> None:
        """A sample that a worker does not go on with, with the bracket that it has come to."""
        with self._writing() as connection:
            asked, held = self._run(connection, run), self._held(connection, run, number)
            if asked is None or held is None:
                return
            if finding is not None:
                self._merge(connection, Asked.of(asked), held, finding, [])
            if held.worker == worker and held.state == SampleState.RUNNING:
                self._set(connection, run, number, state=SampleState.WAITING, worker=None)
                self._told(connection, run, number)

    def fail(self, worker: str, run: str, number: int, why: str, alarm: bool = False) -> None:
        """A sample that no answer comes of, and why; an alarm stops the whole run."""
        with self._writing() as connection:
            connection.execute(_STATE_ALONE, {"of_run": run})
            held = self._held(connection, run, number)
            if held is None:
                return
            if held.worker == worker and held.state == SampleState.RUNNING:
                self._set(connection, run, number, worker=None, **_without_answer(held.verdict, why))
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
                select(SAMPLES.c.run_id, SAMPLES.c.number, SAMPLES.c.lost, SAMPLES.c.verdict)
                .where(*held)
                .with_for_update()
            ).all()
            for run, number, lost, verdict in rows:
                values: dict[str, Any] = {"state": SampleState.WAITING, "worker": None, "lost": lost + 1}
                if lost + 1 >= attempts:
                    why = f"its worker died {lost + 1} times, as for want of memory; ask it of a larger machine"
                    values |= _without_answer(verdict, why)
                self._set(connection, run, number, **values)
                self._told(connection, run, number)
                self._settle(connection, run)
            connection.execute(delete(WORKERS).where(WORKERS.c.id == worker))

    def _held(self, connection: Connection, run: str, number: int) -> StoredSample | None:
        row = connection.execute(_HELD, {"of_run": run, "of_number": number}).first()
        return None if row is None else StoredSample(*row)

    def _run(self, connection: Connection, run: str, lock: bool = False) -> StoredRun | None:
        row = connection.execute(_RUN_ALONE if lock else RUN, {"of_run": run}).first()
        return None if row is None else StoredRun(*row)

    def _merge(
        self, connection: Connection, asked: Asked, held: StoredSample, finding: Finding, alarms: list[SoundnessError]
    ) -> StoredSample:
        """Write down the best of what is known and what was found; what contradicts stops the run, and is kept."""
        details = self._details(connection, held.run_id, held.number)
        try:
            after = merged(held, finding, asked)
        except SoundnessError as alarm:
            alarms.append(alarm)
            claim = {name: json_number(value) for name, value in asdict(finding).items()}
            self._keep(connection, held, replace(details, claims=[*details.claims, claim]))
            self._stop(connection, held.run_id, f"SOUNDNESS ALARM: {alarm}; trust nothing of this run")
            return held
        changed = {one.name: getattr(after, one.name) for one in fields(after)}
        self._set(connection, held.run_id, held.number, **changed)
        record = details.record
        if finding.record is not None:
            brings_proof = after.proof != held.proof and finding.record["verdict"] != UNRESOLVED
            if record is None or record["verdict"] == UNRESOLVED or brings_proof:
                record = finding.record
        history = [*details.history]
        point = [round(finding.seconds, 4), json_number(after.lower), json_number(after.upper)]
        if not history or history[-1][1:] != point[1:] or finding.record is not None:
            history.append(point)
        self._keep(connection, held, replace(details, history=thinned(history), record=record))
        return after

    def _keep(self, connection: Connection, held: StoredSample, details: Details) -> None:
        values = {"history": list(details.history), "record": details.record, "claims": list(details.claims)}
        of = {"of_run": held.run_id, "of_number": held.number}
        if not connection.execute(_KEPT, {**values, **of}).rowcount:
            connection.execute(insert(DETAILS), {"run_id": held.run_id, "number": held.number, **values})

    def _set(self, connection: Connection, run: str, number: int, /, **values: Any) -> None:
        connection.execute(_SET, {**values, "of_run": run, "of_number": number})

    def _stop(self, connection: Connection, run: str, why: str) -> None:
        """Stop a run for good."""
        values = {"state": RunState.FAILED, "error": why, "finished_at": time.time()}
        connection.execute(_SET_RUN, {**values, "of_run": run})
        self._happened(connection, run, "run")

    def _settle(self, connection: Connection, run: str) -> None:
        """A run whose last sample ended has finished; its row is locked, or the last two would overlook each other."""
        state = connection.execute(_STATE_ALONE, {"of_run": run}).scalar()
        if state in AT_WORK and not connection.execute(_OPEN, {"of_run": run}).scalar_one():
            values = {"state": RunState.FINISHED, "finished_at": time.time()}
            connection.execute(_SET_RUN, {**values, "of_run": run})
            self._happened(connection, run, "run")

    def _told(self, connection: Connection, run: str, number: int) -> None:
        """A sample began or ended: whoever listens is told of it whole, so that its brackets need not be kept."""
        connection.execute(_TOLD, {"of_run": run, "of_number": number})
        self._happened(connection, run, "sample", number)


def _without_answer(verdict: str, why: str) -> dict[str, Any]:
    """What becomes of a sample that no answer comes of: it has failed, unless it lacked its proof alone."""
    closed = verdict not in ("", UNRESOLVED)
    return {"state": SampleState.DONE, "why": None} if closed else {"state": SampleState.FAILED, "why": why}


def thinned(history: list[Any]) -> list[Any]:
    """A history of at most `POINTS` points: where it has more, every second one of the older half goes."""
    if len(history) <= POINTS:
        return history
    half = len(history) // 2
    return [*history[:half:2], *history[half:]]

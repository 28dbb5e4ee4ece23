"""What all operations on the database share: transactions, rows of an owner, cursors of lists, and events."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from verifier.service.errors import NotThereError, UnavailableError
from verifier.service.store.database import READING
from verifier.service.store.records import Details, Page, SampleState, StoredRun
from verifier.service.store.tables import DETAILS, EVENTS, RUNS, SAMPLES

R = TypeVar("R")
_DETAILS = select(DETAILS).where(DETAILS.c.run_id == bindparam("of_run"), DETAILS.c.number == bindparam("of_number"))
ORDERED = 7_580_422  # PostgreSQL's lock around new events: their ids are seen in their order


class Transactions:
    """The database of one service, for one process, as its operations use it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

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

    def _owned(self, table: Table, kind: Callable[..., R], owner: str, key: str, word: str) -> R:
        with self._reading() as connection:
            row = connection.execute(rows_of(table, kind).where(table.c.id == key, table.c.owner == owner)).first()
        if row is None:
            raise NotThereError(f"{word} {key[:40]!r}: there is none")
        return kind(*row)

    def _latest(
        self, table: Table, kind: type[R], owner: str, limit: int, cursor: str | None, where: list[ColumnElement[bool]]
    ) -> Page[R]:
        where = [table.c.owner == owner, *where]
        query = rows_of(table, kind).where(*where, *behind(cursor, table.c.created_at, table.c.id, True))
        query = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
        with self._reading() as connection:
            total = connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()
            rows: list[Any] = [kind(*row) for row in connection.execute(query)]
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(tuple(rows[:limit]), None if last is None else cursor_at(last.created_at, last.id), total)

    def _details(self, connection: Connection, run: str, number: int) -> Details:
        row = connection.execute(_DETAILS, {"of_run": run, "of_number": number}).first()
        return Details() if row is None else Details(row.history, row.record, row.claims)

    def _happened(
        self, connection: Connection, run: str, kind: str, *numbers: int, told: dict[str, Any] | None = None
    ) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ORDERED})
        rows = [{"run_id": run, "kind": kind, "number": number, "told": told} for number in numbers or (None,)]
        connection.execute(insert(EVENTS), rows)


def is_open(run: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a run has samples that wait or are worked on."""
    open_states = (SampleState.WAITING, SampleState.RUNNING)
    return exists().where(SAMPLES.c.run_id == run, SAMPLES.c.state.in_(open_states))


def rows_of(table: Table, kind: Any) -> Select[Any]:
    """A query of the columns of a record, in its order."""
    return _selected(table, kind)


@cache
def _selected(table: Table, kind: Any) -> Select[Any]:
    return select(*(table.c[one.name] for one in fields(kind)))


RUN = rows_of(RUNS, StoredRun).where(RUNS.c.id == bindparam("of_run"))  # written once, as nearly everything asks it


def cursor_at(value: Any, key: Any) -> str:
    """Where a list goes on, as `next` has it."""
    return base64.urlsafe_b64encode(json.dumps([json_number(value), key]).encode()).decode().rstrip("=")


def behind(
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


def json_number(value: Any) -> Any:
    """Strict JSON has no infinity: it is a text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cause(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())[:200]

"""The connection to the database, and its migrations: SQLite in a file, PostgreSQL for many."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

BUSY_SECONDS = 30.0  # that one writer waits for another, on SQLite
READING = "reading"
_strict = partial(json.dumps, allow_nan=False)  # PostgreSQL takes no other, and SQLite shall not either


def connected(url: str, pool: int = 10) -> Engine:
    """An engine whose writers take turns and whose readers wait for nobody."""
    if url.startswith("sqlite:"):
        waiting = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        engine = create_engine(url, connect_args=waiting, pool_size=pool, json_serializer=_strict)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine
    return create_engine(url, pool_pre_ping=True, pool_size=pool, max_overflow=pool, json_serializer=_strict)


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    """A connection of SQLite: readers beside the writer, transactions begun by us alone.

    A commit is written before it is answered, and reaches the disk with the next checkpoint: a process may be killed at
    any moment, and a machine that loses its power comes back to an earlier moment, whole.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    """A writer waits for its turn before it reads: two that read first, and then write, would refuse each other."""
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def migrate(url: str) -> None:
    """Bring the database to the tables of this version; one process at a time."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "verifier.service.store:migrations")
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()

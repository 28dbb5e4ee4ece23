"""Alembic's entry: the steps run on the connection that `migrate` opens."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from verifier.service.store.tables import METADATA

LOCK = 7_580_421  # of PostgreSQL: two servers that start at once migrate one after the other

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    context.run_migrations()

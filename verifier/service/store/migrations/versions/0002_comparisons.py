"""Runs of several models, compared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("runs", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
        sa.UniqueConstraint("owner", "idempotency_key", name="uq_comparisons_owner_idempotency_key"),
    )
    op.create_index("ix_comparisons_owner_created_at", "comparisons", ["owner", "created_at"])
    op.add_column("runs", sa.Column("comparison_id", sa.String(length=40), nullable=True))
    op.create_index("ix_runs_comparison_id", "runs", ["comparison_id"])

"""Retained values: the newest of each topic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add their table, empty: a keeper is told by the mesh what is retained there."""
    op.create_table(
        "retained",
        sa.Column("topic", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stamp", sa.LargeBinary(16), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("expires_ns", sa.BigInteger),
        sa.Column("cleared", sa.Boolean, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.LargeBinary),
        sa.Column("kept_ns", sa.BigInteger, nullable=False),
    )

"""Proofs: keys of pages and agents, hosts, and since when they are there; `private` of the store; handles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add them. Version 2 knew no keys: nobody could prove anything for what began there. It ends at the next tick."""
    op.add_column("pages", sa.Column("key", sa.String(32), nullable=False, server_default=""))
    op.add_column("pages", sa.Column("host", sa.String(32), nullable=False, server_default=""))
    op.add_column("pages", sa.Column("begun_at", sa.Double, nullable=False, server_default="0"))
    op.add_column("agents", sa.Column("since", sa.Double, nullable=False, server_default="0"))
    op.add_column("agents", sa.Column("key", sa.String(32), nullable=False, server_default=""))
    op.add_column("about", sa.Column("private", sa.String(64), nullable=False, server_default=""))
    if not sa.inspect(op.get_bind()).has_table("handles"):
        op.create_table(
            "handles",
            sa.Column("handle", sa.String(64), primary_key=True),
            sa.Column("session", sa.String(64), nullable=False),
            sa.Column("agent", sa.String(64), nullable=False),
            sa.Column("until", sa.Double, nullable=False),
        )
        op.create_index("ix_handles_until", "handles", ["until"])
    op.execute("UPDATE pages SET lease_until = 0 WHERE gone_at IS NULL")
    op.execute("UPDATE agents SET lease_until = 0")
    op.execute("UPDATE about SET schema_version = 3")

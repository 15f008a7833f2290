"""Requests to view: `consent`, `agent_name`, `capability`, `asked_by`, `ask_until`, `refusal` of pages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add them. Version 1 had no time-out for invitations: those that wait would wait for ever, and end now."""
    op.add_column("pages", sa.Column("consent", sa.String(16), nullable=False, server_default="code"))
    op.add_column("pages", sa.Column("agent_name", sa.String(255)))
    op.add_column("pages", sa.Column("capability", sa.String(16)))
    op.add_column("pages", sa.Column("asked_by", sa.String(16)))
    op.add_column("pages", sa.Column("ask_until", sa.Double))
    op.add_column("pages", sa.Column("refusal", sa.String(16)))
    op.create_index("ix_pages_ask_until", "pages", ["ask_until"])
    op.execute("UPDATE pages SET offer_until = 0 WHERE chat = 'invited'")
    op.execute("UPDATE about SET schema_version = 2")

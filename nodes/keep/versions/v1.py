"""The first version of a keeper's store; new ones begin with the newest."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing leads here: the tables are made from the schema."""

"""The first version: a store that has it was made before Alembic kept versions; new ones begin with the newest."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing leads here but time."""

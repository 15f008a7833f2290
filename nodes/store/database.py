"""The database of the frame nodes: its tables made, or brought up from an earlier version.

Only this module, `transaction` and `grants` know that there are two kinds; how they are opened: `nodes.databases`.
"""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, Engine, insert, inspect, select, update

from nodes.databases import opening
from nodes.databases.migrations import Migrations
from nodes.rules.agreement import PRIVATE_BYTES
from nodes.store.schema import SCHEMA_VERSION, about, metadata

MIGRATIONS = Migrations("nodes.store", metadata)


def open_database(url: str) -> Engine:
    """Return an engine for `url`, with its tables made. Errors: as `opening.open_database`."""
    return opening.open_database(url, _prepare)


def _prepare(connection: Connection) -> None:
    MIGRATIONS.bring_up(connection, _version(connection))
    if connection.execute(select(about.c.schema_version)).scalar() is None:
        connection.execute(insert(about).values(schema_version=SCHEMA_VERSION))
    private = secrets.token_hex(PRIVATE_BYTES)
    connection.execute(update(about).where(about.c.private == "").values(private=private))


def _version(connection: Connection) -> str | None:
    """Return the version of a store made before Alembic kept it; None for a new one.

    errors: ValueError for a version that is not known here. Programs before Alembic look at `about` only, so every
            migration says its version there as well
    """
    if not inspect(connection).has_table("about"):
        return None
    found = connection.execute(select(about.c.schema_version)).scalar()
    if found is not None and not 1 <= found <= SCHEMA_VERSION:
        raise ValueError(f"the store has schema version {found}; this program knows version {SCHEMA_VERSION} only")
    return None if found is None else str(found)

"""From one version of the schema to the next: statements that both databases understand.

`database.open_database` runs them within its first transaction, so of two frame nodes that start at once one waits for
the other. A frame node of the version before must not run on the same store then: it knows other states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text, update

from nodes.store.schema import SCHEMA_VERSION, about

STATEMENTS: Mapping[int, Sequence[str]] = {
    1: (
        "ALTER TABLE pages ADD COLUMN consent VARCHAR(16) DEFAULT 'code' NOT NULL",
        "ALTER TABLE pages ADD COLUMN agent_name VARCHAR(255)",
        "ALTER TABLE pages ADD COLUMN capability VARCHAR(16)",
        "ALTER TABLE pages ADD COLUMN asked_by VARCHAR(16)",
        "ALTER TABLE pages ADD COLUMN ask_until DOUBLE PRECISION",
        "ALTER TABLE pages ADD COLUMN refusal VARCHAR(16)",
        "CREATE INDEX ix_pages_ask_until ON pages (ask_until)",
        # Version 1 had no time-out for invitations: those that wait would wait for ever, and end now.
        "UPDATE pages SET offer_until = 0 WHERE chat = 'invited'",
    ),
    2: (
        "ALTER TABLE pages ADD COLUMN key VARCHAR(32) DEFAULT '' NOT NULL",
        "ALTER TABLE pages ADD COLUMN host VARCHAR(32) DEFAULT '' NOT NULL",
        "ALTER TABLE pages ADD COLUMN begun_at DOUBLE PRECISION DEFAULT 0 NOT NULL",
        "ALTER TABLE agents ADD COLUMN since DOUBLE PRECISION DEFAULT 0 NOT NULL",
        "ALTER TABLE agents ADD COLUMN key VARCHAR(32) DEFAULT '' NOT NULL",
        "ALTER TABLE about ADD COLUMN private VARCHAR(64) DEFAULT '' NOT NULL",
        # Version 2 knew no keys: nobody could prove anything for what began there. It ends at the next tick.
        "UPDATE pages SET lease_until = 0 WHERE gone_at IS NULL",
        "UPDATE agents SET lease_until = 0",
    ),
}
"""What leads from each version to the next one."""


def migrate(connection: Connection, found: int) -> None:
    """Bring a store of version `found` to SCHEMA_VERSION. errors: ValueError for one that nothing leads on from."""
    while found != SCHEMA_VERSION:
        if found not in STATEMENTS:
            raise ValueError(f"the store has schema version {found}; this program knows version {SCHEMA_VERSION} only")
        for statement in STATEMENTS[found]:
            connection.execute(text(statement))
        found += 1
        connection.execute(update(about).values(schema_version=found))

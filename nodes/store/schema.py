"""The tables of the frame nodes' store: one schema for SQLite and PostgreSQL.

Times are seconds since the epoch on the store's own clock, as doubles. State names are those of the machines' tables.
What a chat says and what a page shows is in no table.

table          one row for each
pages          page session: its lease, code, co-browsing, visibility and chat; kept for a while after the page is gone,
               so that a page that comes back continues its epoch and its version
codes          code that may not be handed out: held by a page (`free_at` is null), or resting until `free_at`
agents         agent that is signed in
agent_buttons  chat button that an agent serves
handles        page that an agent is engaged with, or was not long ago
refusals       chat that an agent has declined or forgotten, and is not offered again until `until`
attempts       agent or frame node that tried wrong codes; agent and page whose visitor has declined it, while it rests
replies        answered request, by its idempotency key
about          the version of this schema, and the private part by which frame nodes agree on keys with hosts
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 3
"""2: requests to view: `consent`, `agent_name`, `capability`, `asked_by`, `ask_until`, `refusal` of pages.
3: `key` of pages and agents, `host` and `begun_at` of pages, `since` of agents, `private` of the store; handles."""

ID = String(64)
STATE = String(16)
KEY = String(32)

metadata = MetaData()

pages = Table(
    "pages",
    metadata,
    Column("session", ID, primary_key=True),
    Column("home", String(255), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("code", String(32), unique=True),  # the guarantee: no two live pages hold one code
    Column("lease_s", Double, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("gone_at", Double),
    Column("cobrowse", STATE, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("agent", ID, index=True),
    Column("consent", STATE, nullable=False, server_default="code"),
    Column("agent_name", String(255)),
    Column("capability", STATE),
    Column("asked_by", STATE),
    Column("ask_until", Double, index=True),
    Column("refusal", STATE),
    Column("visibility", STATE, nullable=False),
    Column("chat", STATE, nullable=False),
    Column("button", ID),
    Column("chat_agent", ID, index=True),
    Column("queue_no", BigInteger, index=True),
    Column("offer_until", Double),
    Column("key", KEY, nullable=False, server_default=""),
    Column("host", KEY, nullable=False, server_default=""),
    Column("begun_at", Double, nullable=False, server_default="0"),
)
Index(
    "pages_live",
    pages.c.lease_until,
    sqlite_where=pages.c.gone_at.is_(None),
    postgresql_where=pages.c.gone_at.is_(None),
)
Index("pages_gone", pages.c.gone_at)

codes = Table(
    "codes",
    metadata,
    Column("code", String(32), primary_key=True),
    Column("free_at", Double, index=True),
    Column("used", Boolean, nullable=False),
)

agents = Table(
    "agents",
    metadata,
    Column("agent", ID, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("available", Boolean, nullable=False),
    Column("lease_s", Double, nullable=False),
    Column("lease_until", Double, nullable=False, index=True),
    Column("key", KEY, nullable=False, server_default=""),
    Column("since", Double, nullable=False, server_default="0"),
)

agent_buttons = Table(
    "agent_buttons",
    metadata,
    Column("button", ID, primary_key=True),
    Column("agent", ID, primary_key=True, index=True),
)

handles = Table(
    "handles",
    metadata,
    Column("handle", ID, primary_key=True),
    Column("session", ID, nullable=False),
    Column("agent", ID, nullable=False),
    Column("until", Double, nullable=False, index=True),
)

refusals = Table(
    "refusals",
    metadata,
    Column("session", ID, primary_key=True),
    Column("agent", ID, primary_key=True),
    Column("until", Double, nullable=False, index=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("who", String(255), primary_key=True),
    Column("since", Double, nullable=False),
    Column("wrong", Integer, nullable=False),
    Column("locked_until", Double, nullable=False),
)

replies = Table(
    "replies",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("reply", Text, nullable=False),
    Column("until", Double, nullable=False, index=True),
)

about = Table(
    "about",
    metadata,
    Column("schema_version", Integer, primary_key=True),
    Column("private", String(64), nullable=False, server_default=""),
)

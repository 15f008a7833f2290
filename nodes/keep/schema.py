"""The tables of a keeper's store; for both databases.

topics     every topic of which something is kept, or was: `beginning` is its first 200 bytes, for ranges; `digest`
           stands for it where it has to be unique, for a topic may be longer than an index takes
messages   what is kept, in the order in which it was written: `id`. `payload` and `headers` are msgpack
batches    what was written at once: up to which `id`, and when by the keeper's clock
lasts      the highest number of each publisher on each topic, also of what is kept no more
holes      numbers that the keeper never got, `at` the id after which that was known
retained   the newest value of each topic that was to be retained, or what cleared it. `stamp` is when it was sent, and
           its publisher, each with 8 bytes, so that it sorts as the stamps of the mesh do
about      one row: which store this is, the id of the message written last, and how many messages and bytes are kept

Publishers and times of the wire are unsigned, and kept as the signed integers of the same 64 bits: `signed`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

BEGINNING_BYTES = 200
_ID = BigInteger().with_variant(Integer, "sqlite")  # which counts by itself as INTEGER PRIMARY KEY only

metadata = MetaData()

topics = Table(
    "topics",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", LargeBinary(16), nullable=False, unique=True),
    Column("beginning", LargeBinary(BEGINNING_BYTES), nullable=False, index=True),
    Column("topic", Text, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("topic", BigInteger, nullable=False),
    Column("publisher", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("sent_ns", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("headers", LargeBinary),
    UniqueConstraint("topic", "publisher", "number", name="messages_once"),
    sqlite_autoincrement=True,  # the id of a row that was deleted is never given again
)
Index("messages_of_topic", messages.c.topic, messages.c.id)

batches = Table(
    "batches",
    metadata,
    Column("last_id", BigInteger, primary_key=True, autoincrement=False),
    Column("kept_ns", BigInteger, nullable=False, index=True),
)

lasts = Table(
    "lasts",
    metadata,
    Column("topic", BigInteger, primary_key=True, autoincrement=False),
    Column("publisher", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("kept_ns", BigInteger, nullable=False, index=True),
)

holes = Table(
    "holes",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("topic", BigInteger, nullable=False),
    Column("publisher", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("kept_ns", BigInteger, nullable=False),
)

retained = Table(
    "retained",
    metadata,
    Column("topic", BigInteger, primary_key=True, autoincrement=False),
    Column("stamp", LargeBinary(16), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("expires_ns", BigInteger),
    Column("cleared", Boolean, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("headers", LargeBinary),
    Column("kept_ns", BigInteger, nullable=False),
)

about = Table(
    "about",
    metadata,
    Column("store", String(32), primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)


def signed(value: int) -> int:
    """Return the signed integer of the same 64 bits."""
    return value - 2**64 if value >= 2**63 else value


def unsigned(value: int) -> int:
    """Return the unsigned integer of the same 64 bits."""
    return value + 2**64 if value < 0 else value

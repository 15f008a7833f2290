"""What every operation of the store stands on: one connection, one moment, and the locks of both databases.

The operations are functions that take a transaction first: `pages.join(tx, …)`, `chats.offer(tx)`. An operation checks
first and writes last: when it refuses (any FabricError), it has changed nothing, except what the refusal itself must
leave, such as a counted attempt. Rows are locked in one order, agents before pages before codes. SQLite runs one
writing transaction at a time and needs no locks.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, text

from nodes.rules.contact_codes import RandomSource
from nodes.store.expected import Expected
from nodes.store.records import Page, StoreOptions

_PG_NOW = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_PG_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_PG_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")


class Transaction:
    """One transaction. Made by a Store, used in one thread; `grants.finish` is called before its commit.

    sql:             the connection, in a transaction of the database
    options:         the store's limits; never changed
    rng:             draws the codes
    now:             the store's clock at its beginning, in seconds since the epoch; all happens at this moment
    expected:        what `grants.expect` has prepared; empty before it and after `grants.finish`
    places_left:     how many more pages may go live; None until `codes.count_places` has taken the lock that keeps the
                     number true until the commit. `codes.take_place` counts it down
    pages_of:        how many live pages each host has, and when the first of them began; None until one of the last
                     places is taken
    new_pages:       pages that have begun and have no row yet, in their order. `rows.add_page` adds; `rows.write_new`
                     writes them before the next page is read, and at the end. Empty unless `expected.more_pages`
    new_replies:     replies to be kept, by key, whose rows are claimed. `replies.once` adds, `replies.write_new` writes
    uses_savepoints: whether its requests run in savepoints; True from the first `begin_savepoint` on
    """

    def __init__(
        self, connection: Connection, options: StoreOptions, rng: RandomSource, clock: Callable[[], float]
    ) -> None:
        self.sql = connection
        self.options = options
        self.rng = rng
        self._postgres = connection.dialect.name == "postgresql"
        """Whether the server's clock rules and rows must be locked. Otherwise the database is SQLite."""
        # The one place that decides whose clock rules. Hosts that share a database must not use their own.
        self.now: float = connection.execute(_PG_NOW).scalar_one() if self._postgres else clock()
        self.expected = Expected()
        self.places_left: int | None = None
        self.pages_of: dict[str, tuple[int, float]] | None = None
        self.new_pages: list[Page] = []
        self.new_replies: dict[str, str] = {}
        self.uses_savepoints = False

    def lock(self, key: int) -> None:
        """Wait until no other transaction holds the lock `key`, and hold it until the commit."""
        if self._postgres:
            self.sql.execute(_PG_LOCK, {"key": key})

    def try_lock(self, key: int) -> bool:
        """Hold the lock `key` until the commit; False, at once, when another transaction holds it."""
        return not self._postgres or bool(self.sql.execute(_PG_TRY_LOCK, {"key": key}).scalar_one())

    # In plain SQL: SQLAlchemy's nested transactions compile these each time again.

    def begin_savepoint(self) -> None:
        """Remember this point; one at a time."""
        self.uses_savepoints = True
        self.sql.exec_driver_sql("SAVEPOINT request")

    def roll_back_savepoint(self) -> None:
        """Undo all since the savepoint, which stays. Places are counted again: their lock may be undone, too."""
        self.sql.exec_driver_sql("ROLLBACK TO SAVEPOINT request")
        self.places_left = self.pages_of = None

    def release_savepoint(self) -> None:
        """Forget the savepoint; what was done since stays."""
        self.sql.exec_driver_sql("RELEASE SAVEPOINT request")

"""The frame nodes' store: every operation in a transaction, many requests to a commit, SQLite or PostgreSQL.

    with store.transaction() as tx:
        page = pages.grant_code(tx, session, home, lease_s=30)

    outcomes = store.commit_together([lambda tx: pages.renew(tx, a), lambda tx: pages.join(tx, agent, code, node)])

The operations are functions on a transaction. Read them in this order: `pages`, `asks`, `attempts`, `agents`, `chats`,
`expiry`, `grants`. They stand on `rows`, `codes` and `replies`, and these on `transaction`; what they hand out is in
`records`, the tables are in `schema`. All state is in the database, so any frame node serves any page.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from fabric.errors import FabricError
from nodes.databases.opening import as_busy, ends_transaction, is_taken_back
from nodes.rules.backoff import Backoff
from nodes.rules.contact_codes import RandomSource
from nodes.store import grants
from nodes.store.database import open_database
from nodes.store.records import StoreOptions
from nodes.store.schema import about
from nodes.store.transaction import Transaction

T = TypeVar("T")

PATIENCE = Backoff(base_s=0.05, cap_s=0.5, attempts=5)
"""When a batch runs again that the database took back: a deadlock, a connection that was lost. At once would be too
early: the loser of a deadlock would take its first lock again before the winner has woken up to get it."""


class Store:
    """A database of page sessions, agents and codes. Several threads may use one; a transaction belongs to one thread.

    url:      see `nodes.databases.opening.open_database`
    options:  limits, the same at every frame node of one database
    clock:    rules the leases on SQLite, in seconds since the epoch; on PostgreSQL the server's clock does
    rng:      draws the codes; the default is the operating system's

    A store has no state but the database's: its fields never change. `_engine` is the pool of connections, which are
    opened when they are needed; `close` closes them.
    """

    def __init__(
        self,
        url: str,
        options: StoreOptions | None = None,
        *,
        clock: Callable[[], float] = time.time,
        rng: RandomSource | None = None,
    ) -> None:
        self._options = options or StoreOptions()
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._engine = open_database(url)

    def private(self) -> bytes:
        """Return the private part by which its frame nodes agree on keys with page hosts and agents; drawn with it.

        errors: Busy when the database does not answer
        """
        with self.transaction() as tx:
            return bytes.fromhex(tx.sql.execute(select(about.c.private)).scalar_one())

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give a transaction, committed at the end, or rolled back by any exception.

        errors: Busy when the database cannot be reached, stays locked or takes the transaction back
        """
        try:
            with self._engine.begin() as connection:
                tx = self._begun(connection)
                yield tx
                grants.finish(tx)
        except DBAPIError as error:
            if not ends_transaction(error):
                raise
            raise as_busy(error) from error

    def commit_together(self, requests: Sequence[Callable[[Transaction], T]]) -> list[T | Exception]:
        """Run each request, commit them all at once, and return what each returned or raised.

        A request that raises a FabricError has changed nothing by that; one that raises anything else is rolled back;
        the others are committed all the same. A batch may be run more than once before it is committed, so a request
        must be repeatable as a whole: use `replies.once` for what is not by itself.
        errors: Busy when the database cannot be reached, or stays locked
        cost:   savepoints are a fifth of what a code costs, so the first run does without. When a request fails that
                was not refused, all of them run again, each in its own savepoint
        """
        run: Callable[[Transaction, Callable[[Transaction], T]], T | Exception] = _plainly
        attempt = 0
        while True:
            attempt += 1
            try:
                with self._engine.begin() as connection:
                    tx = self._begun(connection)
                    outcomes = [run(tx, request) for request in requests]
                    grants.finish(tx)
                return outcomes
            except Exception as error:
                if not ends_transaction(error):
                    if run is _in_savepoint:
                        raise
                    run = _in_savepoint
                else:
                    pause_s = PATIENCE.delay_s(attempt, self._rng.randrange(1000) / 1000)
                    if pause_s is None or not is_taken_back(error):
                        raise as_busy(error) from error
                    time.sleep(pause_s)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _begun(self, connection: Connection) -> Transaction:
        return Transaction(connection, self._options, self._rng, self._clock)


def _plainly(tx: Transaction, request: Callable[[Transaction], T]) -> T | Exception:
    try:
        return request(tx)
    except FabricError as refused:
        return refused


def _in_savepoint(tx: Transaction, request: Callable[[Transaction], T]) -> T | Exception:
    outcome: T | Exception
    tx.begin_savepoint()
    try:
        outcome = _plainly(tx, request)
    except Exception as failed:
        if ends_transaction(failed):
            raise
        outcome = failed
        tx.roll_back_savepoint()
    tx.release_savepoint()
    return outcome

"""The frame nodes' store: every operation in a transaction, many requests to a commit, SQLite or PostgreSQL.

    with store.transaction() as tx:
        page = tx.grant_code(session, home, lease_s=30)

    outcomes = store.commit_together([lambda tx: tx.renew(a), lambda tx: tx.join(agent, code, node)])

Read the operations in this order: `pages`, `attempts`, `agents`, `chats`, `expiry`,
`grants`; what they stand on is in `transaction`, what they hand out in `records`, the tables in `schema`. All
state is in the database, so any frame node serves any page. A Store may be used by several threads; a transaction
belongs to one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from fabric.errors import FabricError
from nodes.rules.backoff import Backoff
from nodes.rules.contact_codes import RandomSource
from nodes.store.database import as_busy, ends_transaction, is_taken_back, open_database
from nodes.store.grants import GrantOperations
from nodes.store.records import StoreOptions

T = TypeVar("T")

PATIENCE = Backoff(base_s=0.05, cap_s=0.5, attempts=5)
"""When a batch runs again that the database took back: a deadlock, a connection that was lost. At once would be too
early: the loser of a deadlock would take its first lock again before the winner has woken up to get it."""


class Transaction(GrantOperations):
    """One transaction with all operations. Made by a Store."""


class Store:
    """A database of page sessions, agents and codes.

    url:      see `database.open_database`
    options:  limits, the same at every frame node of one database
    clock:    rules the leases on SQLite, in seconds; on PostgreSQL the server's own clock does
    rng:      draws the codes; the default is the operating system's
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

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give a transaction, committed at the end, or rolled back by any exception.

        errors: Busy when the database cannot be reached, stays locked or takes the transaction back
        """
        try:
            with self._engine.begin() as connection:
                tx = self._begun(connection)
                yield tx
                tx.finish()
        except DBAPIError as error:
            if not ends_transaction(error):
                raise
            raise as_busy(error) from error

    def commit_together(self, requests: Sequence[Callable[[Transaction], T]]) -> list[T | Exception]:
        """Run each request, commit them all at once, and return what each returned or raised.

        A request that raises a FabricError has changed nothing by that; one that raises anything else is rolled back;
        the others are committed all the same. A batch may be run more than once before it is committed, so a request
        must be repeatable as a whole: use `once` for what is not by itself.
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
                    tx.finish()
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

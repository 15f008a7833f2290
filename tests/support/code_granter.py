"""A process that asks a store for codes, to be killed.

    python -m tests.support.code_granter URL NAME FIRST COUNT CAPACITY

It begins the pages NAME-FIRST, … in batches, and after each commit prints a line `session code …` for the batch: what
is printed has been promised. Random source and keys are its own, as for any frame node.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from fabric.errors import Busy
from nodes.store import pages, replies
from nodes.store.records import Page, StoreOptions
from nodes.store.store import Store
from nodes.store.transaction import Transaction

BATCH = 25
PATIENCE_S = 60.0


def main(url: str, name: str, first: int, count: int, capacity: int) -> None:
    store = Store(url, StoreOptions(capacity=capacity))
    for begin in range(first, count, BATCH):
        sessions = [f"{name}-{number}" for number in range(begin, min(begin + BATCH, count))]
        promised: list[str] = []
        for page in _commit(store, [_grant(session) for session in sessions]):
            assert isinstance(page, Page), page
            promised += [page.session, str(page.code)]
        print(*promised, flush=True)
    store.close()


def _commit(store: Store, grants: list[Callable[[Transaction], Page]]) -> list[Page | Exception]:
    """Commit a batch, again while the other process holds the database; the batch is the same by its keys."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return store.commit_together(grants)
        except Busy:
            if time.monotonic() > end:
                raise


def _grant(session: str) -> Callable[[Transaction], Page]:
    def grant(tx: Transaction) -> Page:
        reply = replies.once(
            tx, f"key-{session}", {"session": session}, lambda: pages.grant_code(tx, session, "home", 600.0)._asdict()
        )
        return Page(**reply)

    return grant


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))

"""The store as a frame node uses it: one transaction at a time, and no waiting while it is away.

A store is away from the first transaction that it does not serve. From then on requests are refused at once, and the
ticker's `probe` tries it until it answers again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fabric.errors import Busy
from nodes.databases.opening import why_store
from nodes.operate.logs import named
from nodes.store.store import Store
from nodes.store.transaction import Transaction

log = logging.getLogger("nodes.frame_node")

Run = Callable[[Transaction], Any]


class WatchedStore:
    """A store, and whether it answers. For several threads.

    lock:        held during each transaction: on SQLite two of them would wait for each other in steps of up to 0.1 s
    _away_since: when the store stopped answering, in seconds of `clock`; None while it answers. Changed only
                 while `lock` is held, read from any thread
    _store, _clock: never change
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self.lock = threading.Lock()
        self._away_since: float | None = None

    @property
    def answers(self) -> bool:
        """Whether the last transaction was served, by what is known now."""
        return self._away_since is None

    def problem(self) -> str:
        """Say since when the store is away; nothing while it answers."""
        since = self._away_since
        return "" if since is None else f"the store has been away for {self._clock() - since:.0f} s"

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give one transaction. errors: Busy when the store does not answer, which `probe` finds out for the others."""
        with self.lock, self._store.transaction() as tx:
            yield tx

    def commit(self, runs: Sequence[Run]) -> list[Any]:
        """Run these in one transaction; return what each returned or raised. errors: Busy, at once while it is away."""
        with self.lock:
            if self._away_since is not None:
                raise Busy("the store does not answer; try again later", retry_after_s=1.0)
            return self._tried(runs)

    def probe(self, run: Run) -> None:
        """Run this in one transaction, also while the store is away. errors: Busy when it does not answer; `run`'s."""
        with self.lock:
            (outcome,) = self._tried([run])
            self._found()
        if isinstance(outcome, Exception):
            raise outcome

    def _tried(self, runs: Sequence[Run]) -> list[Any]:
        try:
            return list(self._store.commit_together(runs))
        except Busy as error:
            if self._away_since is None:
                self._away_since = self._clock()
                why, words = why_store(error), "the store is away, and everybody is told to come back: %s"
                log.warning(words, why, extra=named("store_away", why=why))
            raise

    def _found(self) -> None:
        if self._away_since is not None:
            away_s, self._away_since = self._clock() - self._away_since, None
            log.warning("the store answers again, after %.1f s", away_s, extra=named("store_back", away_s=away_s))

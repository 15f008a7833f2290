"""What is subscribed at a node: who wants what, and whose ack has come. Any thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from fabric.broker import Broker
from fabric.node.coverage import Ack
from fabric.node.receiver import MessageFun

AckFun = Callable[[Ack], object]


class Subscriptions:
    """The subscriptions of one node, and their acks.

    lock:   held for microseconds, never over a call of a user's function
    broker: a receiver's: what arrives is matched there, without the lock
    """

    def __init__(self, lock: threading.RLock, broker: Broker[MessageFun]) -> None:
        self._broker = broker
        """Changed under the lock."""
        self._acked = threading.Condition(lock)
        """Guards what stands here. Told whenever `_acks` gains one."""
        self._acks: dict[int, Ack] = {}
        """Acks that came, by subscription. Only of subscriptions that are in the broker."""
        self._ack_funs: dict[int, AckFun | None] = {}
        """Subscriptions whose ack has not come, and whom to tell. An entry goes when it is told, or forgotten."""

    def __len__(self) -> int:
        return len(self._broker)

    def add(self, topic_filter: str, msg_fun: MessageFun, ack_fun: AckFun | None) -> int:
        """Return the id of a new one."""
        with self._acked:
            ident = self._broker.subscribe(topic_filter, msg_fun)
            self._ack_funs[ident] = ack_fun
            return ident

    def add_own(self, topic_filter: str, msg_fun: MessageFun) -> int:
        """Return the id of one of the node itself, which waits for no ack."""
        with self._acked:
            return self._broker.subscribe(topic_filter, msg_fun)

    def remove(self, ident: int) -> str:
        """Return its filter. KeyError if it has ended."""
        with self._acked:
            topic_filter = self._broker.unsubscribe(ident)
            self._acks.pop(ident, None)
            return topic_filter

    def is_active(self, ident: int) -> bool:
        """Whether it has not ended."""
        with self._acked, contextlib.suppress(KeyError):
            return self._broker.get(ident).active
        return False

    def acked(self, ident: int, ack: Ack) -> AckFun | None:
        """Its ack has come; return whom to tell. It may have ended."""
        with self._acked:
            with contextlib.suppress(KeyError):
                self._broker.get(ident)
                self._acks[ident] = ack
            self._acked.notify_all()
            return self._ack_funs.pop(ident, None)

    def forget(self, ident: int) -> None:
        """It has ended, and nobody is to be told of its ack any more."""
        with self._acked:
            self._ack_funs.pop(ident, None)

    def wait_ack(self, ident: int, timeout_s: float) -> Ack:
        """Wait for its ack. errors: KeyError if it has ended, TimeoutError"""
        end = time.monotonic() + timeout_s
        with self._acked:
            while ident not in self._acks:
                self._broker.get(ident)
                rest = end - time.monotonic()
                if rest <= 0:
                    raise TimeoutError(f"no ack for subscription {ident} within {timeout_s:g} s")
                self._acked.wait(rest)
            return self._acks[ident]

    def filters(self) -> tuple[str, ...]:
        """Return the distinct filters held."""
        with self._acked:
            return self._broker.filters()

    def acknowledged(self) -> list[str]:
        """Return the filter of each subscription whose ack has come and said yes."""
        with self._acked:
            return [self._broker.get(ident).filter for ident, ack in self._acks.items() if ack.ok]

    def filters_matching(self, topic: str) -> list[str]:
        """Return the filter of each subscription that matches."""
        with self._acked:
            return [subscription.filter for subscription in self._broker.match(topic)]

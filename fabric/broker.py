"""Who here wants a topic: the local publish/subscribe core that a node and a host page share. Pure.

`Broker` knows filters, ids and opaque handlers; it calls none of them and sees no message. The path of every message
is one look-up in `routes`, from a topic's raw bytes to its `Route`:

    route = routes.get(raw) or broker.route(raw)
    for subscription in route.subscriptions:
        if subscription.active:
            subscription.handler(message)

A handler may subscribe and unsubscribe while a message is handed round. The tuple is a snapshot: a new subscription
gets the next message first; one that is gone still stands in it, but is not `active` and so not called any more.

There is no lock: threads that share a broker lock around every call. Only reading `routes` needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from fabric.errors import expected
from fabric.trie import SubscriptionTrie
from fabric.wire import decode_topic

H = TypeVar("H")

MAX_ROUTES = 100_000
MAX_ROUTE_BYTES = 64 * 1024 * 1024  # of raw topics: a peer may send ever new ones of 64 kB each


class Subscription(Generic[H]):
    """One subscription. `active` is False from the moment `unsubscribe` returns."""

    __slots__ = ("active", "filter", "handler", "id")

    def __init__(self, id: int, topic_filter: str, handler: H) -> None:
        self.id = id
        self.filter = topic_filter
        self.handler = handler
        self.active = True

    def __repr__(self) -> str:
        return f"Subscription({self.id}, {self.filter!r}, active={self.active})"


class Route(NamedTuple, Generic[H]):
    """What is known of a topic: its text, its subscriptions by their ids, its last numbers (`node.gaps`).

    only:  the handler, where there is one subscription: to call it at once spares a twelfth of a message's way
    """

    topic: str
    subscriptions: tuple[Subscription[H], ...]
    lasts: dict[int, int]
    only: H | None


class Broker(Generic[H]):
    """Subscriptions by id and by topic.

    lasts:           gives a topic's dict of last numbers, for its route; not asked for topics that nobody here wants,
                     so that what a coarse prefix lets through leaves no trace there
    max_routes:      most topics in `routes`; when it is full it is emptied, as at each change of subscriptions
    max_route_bytes: most bytes of raw topics in `routes`, likewise
    on_emptied:      called whenever `routes` is emptied, for who keeps a copy of what is in it
    """

    def __init__(
        self,
        lasts: Callable[[str], dict[int, int]] | None = None,
        *,
        max_routes: int = MAX_ROUTES,
        max_route_bytes: int = MAX_ROUTE_BYTES,
        on_emptied: Callable[[], None] = lambda: None,
    ) -> None:
        if max_routes < 1:
            raise ValueError(expected("max_routes", max_routes, "at least 1"))
        self.routes: dict[bytes, Route[H]] = {}
        """Topics that came, by their raw bytes; at most `max_routes`. One object for life: callers keep it."""
        self._lasts, self._on_emptied = lasts, on_emptied
        self._max_routes = max_routes
        self._max_route_bytes = max_route_bytes
        self._route_bytes = 0
        """Of the keys of `routes`; at most `max_route_bytes`, unless one alone is longer."""
        self._last_id = 0
        """Of a subscription; ids are never used again."""
        self._subscriptions: dict[int, Subscription[H]] = {}
        """Those that are active, by id; the same are in `_trie`."""
        self._trie: SubscriptionTrie[Subscription[H]] = SubscriptionTrie()

    def subscribe(self, topic_filter: str, handler: H) -> int:
        """Add a subscription and return its id, from 1 up and never used again; InvalidFilter changes nothing."""
        subscription = Subscription(self._last_id + 1, topic_filter, handler)
        self._trie.add(topic_filter, subscription)
        self._last_id += 1
        self._subscriptions[subscription.id] = subscription
        self._forget_routes()
        return subscription.id

    def unsubscribe(self, id: int) -> str:
        """Remove a subscription, whose handler is called no more, and return its filter; KeyError for an unknown id."""
        subscription = self.get(id)
        subscription.active = False
        del self._subscriptions[id]
        self._trie.remove(subscription.filter, subscription)
        self._forget_routes()
        return subscription.filter

    def get(self, id: int) -> Subscription[H]:
        """Return the subscription `id`; KeyError for an unknown one."""
        subscription = self._subscriptions.get(id)
        if subscription is None:
            why = "it was unsubscribed before" if 0 < id <= self._last_id else "subscribe() never returned this id"
            raise KeyError(f"no subscription {id!r}: {why}")
        return subscription

    def match(self, topic: str) -> tuple[Subscription[H], ...]:
        """Return the subscriptions that match a valid topic, in the order they were made, each once."""
        return tuple(sorted(self._trie.match(topic), key=_by_id))

    def route(self, raw: bytes) -> Route[H]:
        """Return the route of a topic's raw bytes, without the NUL, and keep it in `routes`.

        raises: RemoteWireError for what is no topic that may arrive; it is not kept
        cost:   one decoding and one match: for a topic's first message only
        """
        topic = decode_topic(raw)
        subscriptions = self.match(topic)
        lasts = self._lasts(topic) if self._lasts and subscriptions else {}
        route = Route(topic, subscriptions, lasts, subscriptions[0].handler if len(subscriptions) == 1 else None)
        if len(self.routes) >= self._max_routes or self._route_bytes + len(raw) > self._max_route_bytes:
            self._forget_routes()
        if raw not in self.routes:
            self._route_bytes += len(raw)
        self.routes[raw] = route
        return route

    def filters(self) -> tuple[str, ...]:
        """Return the distinct filters held, in the order they were first subscribed."""
        return tuple(dict.fromkeys(subscription.filter for subscription in self._subscriptions.values()))

    def __len__(self) -> int:
        return len(self._subscriptions)

    def _forget_routes(self) -> None:
        self.routes.clear()
        self._route_bytes = 0
        self._on_emptied()


def _by_id(subscription: Subscription[H]) -> int:
    return subscription.id

"""What a page in a browser may do, and from where: the gateway's answer to every topic and origin. Pure.

A page has its own session (`~pagesession/…`) and, of the fabric, what the operator made public. Everything else is
refused with a reason: also `~/…`, which never leaves a page, and `$…`, which is the fabric's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fabric.errors import NotAllowed, ScopeError, expected
from fabric.topics import covers, matches, scope, validate_filter, validate_topic


@dataclass(frozen=True)
class Policy:
    """What is public.

    subscribe, publish: filters; a page may hold filters that one of them covers, and publish topics that one matches
    retain:             so with what a page may have retained in the fabric, where its topic is public at all
    origins:            of the pages that may hold the frame; the gateway's own always may
    """

    subscribe: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    origins: frozenset[str] = frozenset()
    retain: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, subscribe: Iterable[str], publish: Iterable[str], origins: Iterable[str], retain: Iterable[str] = ()
    ) -> Policy:
        """Check and take the operator's words. Errors: InvalidFilter, ScopeError, ValueError."""
        filters, kept = (tuple(subscribe), tuple(publish)), tuple(retain)
        for each in (*filters[0], *filters[1], *kept):
            validate_filter(each)
            if scope(each) != "" or each.partition("/")[0] in ("+", "#"):
                wanted = "a filter whose first level is written out, without ~ or $"
                raise ScopeError(expected("public filter", each, wanted))
        return cls(*filters, frozenset(origin_of(each) for each in origins), kept)

    def check_subscribe(self, topic_filter: str) -> str:
        """Return the filter's scope, `pagesession` or `""`. Errors: InvalidFilter, ScopeError, NotAllowed."""
        validate_filter(topic_filter)
        kind = self._scope(topic_filter)
        if kind == "" and not any(covers(public, topic_filter) for public in self.subscribe):
            raise NotAllowed(expected("filter", topic_filter, _public(self.subscribe)))
        return kind

    def check_publish(self, topic: str, *, retain: bool = False) -> str:
        """Return the topic's scope, `pagesession` or `""`. Errors: InvalidTopic, ScopeError, NotAllowed."""
        validate_topic(topic)
        kind = self._scope(topic)
        if kind == "" and not any(matches(public, topic) for public in self.publish):
            raise NotAllowed(expected("topic", topic, _public(self.publish)))
        if kind == "" and retain and not any(matches(kept, topic) for kept in self.retain):
            raise NotAllowed(expected("retained topic", topic, "one that the operator lets pages retain"))
        return kind

    def allows_origin(self, origin: str, own: str) -> bool:
        """Say whether a page of this origin may hold the frame. `own`: the gateway's origin, as the browser sees it."""
        return origin == own or origin in self.origins

    def _scope(self, name: str) -> str:
        kind = scope(name)
        if kind == "local":
            raise ScopeError(expected("topic", name, "another first level than ~, whose topics stay in their page"))
        if kind == "system":
            raise ScopeError(expected("topic", name, "a first level without $, which is the fabric's own"))
        return kind


def origin_of(url: str) -> str:
    """Return an origin in the form that browsers send. Errors: ValueError."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or not plain:
        raise ValueError(expected("origin", url, "https://shop.example.org or http://127.0.0.1:8000"))
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, default) else "")


def _public(public: tuple[str, ...]) -> str:
    if not public:
        return "one of the session; nothing of the fabric is public here"
    return f"one of the session, or of what is public here: {', '.join(map(repr, public))}"

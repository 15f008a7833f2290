"""What the announcements of proxies say of their mesh, for `fabric status` and `fabric wait`. Pure.

Feed it every payload of `$fabric/proxy/+`. Whatever else a peer sends there is passed over.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from fabric.protocol.views import Record, View

# fmt: off
COLUMNS = (
    "PROXY", "STATE", "BASE", "UP", "LINKS", "NODES", "SUBS", "RETAINED", "IN/s", "OUT/s", "RELAY/s", "GUEST/s",
    "REFUSED", "BUILD",
)
# fmt: on
STREAMS = ("in", "out", "relay", "guest")
NUMERIC_FROM = COLUMNS.index("UP")
NUMERIC = COLUMNS[NUMERIC_FROM:-1]
"""The columns that hold figures."""


@dataclass(frozen=True)
class Totals:
    """What all proxies of a mesh say, added up.

    proxies, members: that are known and not dead; that are members
    dead:             proxies that another one calls dead
    linked, links:    links proven in both directions, and those there would be, each counted at both its ends
    rates:            messages a second by stream, with those of the fabric itself: `in` as they are published; `out`
                      handed on to subscribers and links, `relay` from links to subscribers, `guest` to guests: each
                      once a proxy, however many take it
    refused:          parts, since each proxy began
    queued_bytes:     what waits for slow readers, about
    readers_cut:      connections cut because their readers took too little, since each proxy began
    """

    proxies: int
    members: int
    dead: int
    linked: int
    links: int
    nodes: int
    rates: dict[str, float]
    refused: int
    queued_bytes: int
    readers_cut: int


class MeshView:
    """The latest announcement of each proxy."""

    def __init__(self) -> None:
        self._views: dict[str, View] = {}
        """By a proxy's name, what it last announced. `hear` adds and drops."""
        self._payloads: dict[str, dict[str, Any]] = {}
        """The same announcements as they came, with the figures that a `View` does not hold."""

    def hear(self, payload: Any) -> None:
        """Take one announcement. A proxy that announces that it is gone is dropped."""
        view = View.from_map(payload)
        if view is None:
            return
        if view.state == "gone":
            self._views.pop(view.record.id, None)
            self._payloads.pop(view.record.id, None)
        else:
            self._views[view.record.id] = view
            self._payloads[view.record.id] = payload

    def is_complete(self, expected: Collection[str] = ()) -> bool:
        """True when a proxy has announced itself, and so has every one that is expected, or that another names, but
        those that another calls dead."""
        return bool(self._views) and not self._unheard() and not (set(expected) - self._views.keys() - self._dead())

    def problem(self, proxies: int | None = None, expected: Collection[str] = ()) -> str:
        """Return why the mesh is not ready; empty when `proxies` or more and all `expected` are there, all members, all
        linked."""
        dead = self._dead()
        live = {name: view for name, view in self._views.items() if name not in dead}
        if not live:
            return "no proxy has announced itself"
        if self._unheard():
            return f"no announcement yet from {', '.join(sorted(self._unheard()))}"
        for name, view in sorted(live.items()):
            if view.state != "member":
                return f"{name} is {view.state}"
            linked = {peer.record.id for peer in view.peers if peer.linked}
            if unlinked := sorted(live.keys() - linked - {name}):
                return f"{name} is not linked with {', '.join(unlinked)}"
        if missing := sorted(set(expected) - live.keys()):
            return f"not in the mesh: {', '.join(missing)}"
        if proxies is not None and len(live) < proxies:
            return f"{len(live)} of {proxies} proxies are there: {', '.join(sorted(live))}"
        return ""

    @property
    def names(self) -> list[str]:
        """The proxies that announced themselves and are not called dead by another."""
        return sorted(self._views.keys() - self._dead())

    def records(self) -> list[Record]:
        """Return the record of every proxy, in the order of names; of some only others have told."""
        found = {peer.record.id: peer.record for view in self._views.values() for peer in view.peers}
        found |= {name: view.record for name, view in self._views.items()}
        return [found[name] for name in sorted(found)]

    def nodes(self) -> dict[str, int]:
        """How many nodes each proxy has announced."""
        counts = {name: _number(self._payloads[name], "nodes") for name in self.names}
        return {name: int(count) if 0 <= count < 1e9 else 0 for name, count in counts.items()}

    def as_json(self) -> list[dict[str, Any]]:
        """The announcements as they came, sorted by name."""
        return [self._payloads[name] for name in sorted(self._payloads)]

    def rows(self, expected: Collection[str] = ()) -> list[tuple[str, ...]]:
        """One row a proxy, in the order of COLUMNS. A proxy that is only named by others has the first three, and one
        that is only expected has the first two."""
        dead = self._dead()
        rows = [_row(view, self._payloads[name], name in dead) for name, view in self._views.items()]
        blank = ("",) * (len(COLUMNS) - NUMERIC_FROM)
        for name, base in self._named().items():
            if name not in self._views:
                rows.append((name, "dead" if name in dead else "silent", base, *blank))
        rows += [(name, "absent", "", *blank) for name in set(expected) - self._views.keys() - self._named().keys()]
        return sorted(rows)

    def totals(self) -> Totals:
        """Return what the proxies that are not dead say, added up."""
        dead = self._dead()
        live = {name: view for name, view in self._views.items() if name not in dead}
        told = [self._payloads[name] for name in live]
        known = (live.keys() | self._named().keys()) - dead
        return Totals(
            proxies=len(known),
            members=sum(view.state == "member" for view in live.values()),
            dead=len(dead),
            linked=sum(peer.linked and peer.record.id not in dead for view in live.values() for peer in view.peers),
            links=len(known) * (len(known) - 1),
            nodes=sum(self.nodes().values()),
            rates={stream: _finite(sum(_number(each, "rates", stream) for each in told)) for stream in STREAMS},
            refused=int(_finite(sum(_sum(each.get("refused")) for each in told))),
            queued_bytes=int(_finite(sum(_number(each, "queued_bytes") for each in told))),
            readers_cut=int(_finite(sum(_number(each, "slow_readers_cut") for each in told))),
        )

    def keys_of(self, name: str) -> str:
        """Return in a word who may do what at a proxy; "" for one that has not announced itself."""
        return _keys(self._payloads[name].get("identity")) if name in self._payloads else ""

    def _named(self) -> dict[str, str]:
        return {peer.record.id: peer.record.base for view in self._views.values() for peer in view.peers}

    def _dead(self) -> set[str]:
        """The proxies that another one calls dead, in the incarnation that is known here."""
        return {
            peer.record.id
            for view in self._views.values()
            for peer in view.peers
            if peer.dead and (peer.record.id not in self._views or self._views[peer.record.id].record == peer.record)
        }

    def _unheard(self) -> set[str]:
        return self._named().keys() - self._views.keys() - self._dead()


def _row(view: View, payload: dict[str, Any], dead: bool) -> tuple[str, ...]:
    linked = sum(peer.linked for peer in view.peers)
    return (
        view.record.id,
        "dead" if dead else view.state,
        view.record.base,
        duration(_number(payload, "uptime_s")),
        f"{linked}/{len(view.peers)}",
        f"{_number(payload, 'nodes'):.0f}",
        "/".join(f"{_number(payload, 'subscriptions', place):.0f}" for place in ("out", "link")),
        f"{_number(payload, 'retained', 'now', 'topics'):.0f}",
        *(f"{_number(payload, 'rates', stream):,.0f}" for stream in STREAMS),
        f"{_sum(payload.get('refused')):.0f}",
        _word(payload.get("build")),
    )


def _keys(identity: Any) -> str:
    """Return in a word who may do what at a proxy: by its keys, or anybody."""
    told = identity if isinstance(identity, dict) else {}
    if told.get("keys") is not True:
        return "INSECURE" if told.get("insecure") is True else "none"
    return "observing" if told.get("observe") is True else "stale" if told.get("rules_stale") is True else "yes"


def _number(payload: Any, *path: str) -> float:
    """The number at this path, or 0: a peer may have sent anything."""
    for key in path:
        payload = payload.get(key) if isinstance(payload, dict) else None
    return payload if isinstance(payload, int | float) and not isinstance(payload, bool) else 0


def _finite(value: float) -> float:
    """The same, or 0 where it is no figure that can be: a peer may have sent anything."""
    return value if 0 <= value < 1e15 else 0


def _word(value: Any) -> str:
    """A short text as it is, or nothing: a peer may have sent anything."""
    return value if isinstance(value, str) and len(value) <= 20 and value.isprintable() else ""


def _sum(counts: Any) -> float:
    return sum(_number(counts, kind) for kind in counts) if isinstance(counts, dict) else 0


def duration(seconds: float) -> str:
    """Seconds in the two largest units that say something: `7s`, `3m12s`, `5h02m`, `3d04h`."""
    whole = int(seconds) if abs(seconds) < 1e15 else 0
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"

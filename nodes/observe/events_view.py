"""What happens in a mesh, one event after the other: what `fabric events` shows. Pure.

    proxies say     `$fabric/event/<proxy>/<event>`: nodes that join and leave, links, peers, readers that were cut
    with keys       `$fabric/audit/<proxy>/<event>`: who was refused, and why
    proxies announce  how many parts they refused, by kind
    nodes answer    the question "stats": their names, what they lost and refused, and how often they had to wait
    services        announce themselves

Proxies know nodes by their runs, nodes tell their names: a node that joins is shown when it has said its name, or
`NAME_S` later. One that joins a proxy while it is at another has moved. Input from peers never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAME_S = 1.0
"""How long a node that joined is waited for to say its name."""
MAX_RUNS = 50_000
"""Nodes that are remembered; beyond, the oldest are forgotten."""
MAX_TEXT_CHARS = 200
MAX_FIELDS = 20
FIGURES = {"lost": "lost", "refused": "refused", "waits": "publisher_waited"}
"""Of a node's figures, those whose rise is an event, and its name."""


@dataclass(frozen=True)
class Event:
    """at_ns: when, wall clock, ns since 1970: of who told it, or of the operator for what is asked for."""

    at_ns: int
    event: str
    fields: Mapping[str, Any]


@dataclass
class _Run:
    """One run of a node.

    proxy:   where it is, or was last; "" when it has left
    name:    as it says; "" while it has not
    figures: those of FIGURES in its last answer; empty before the first
    is_new:  it joined while we were looking: all that it lost, it lost since
    """

    proxy: str
    name: str = ""
    figures: dict[str, int] = field(default_factory=dict)
    is_new: bool = False


class EventsView:
    """What is known of the nodes, and events that wait for a name."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        """By run, the oldest first; at most MAX_RUNS."""
        self._joined: dict[str, tuple[float, int]] = {}
        """Runs that joined and wait for their name: since when, monotonic, and when by the proxy's clock."""
        self._refused: dict[tuple[str, str], int] = {}
        """By proxy and kind, how many parts it had refused, as it announced last."""

    def proxy_said(self, at_ns: int, payload: object, now: float) -> list[Event]:
        """Take what came on `$fabric/event/…`. now: monotonic"""
        fields = _flat(payload)
        event, proxy, run = fields.pop("event", None), fields.get("proxy"), fields.get("run")
        if not (isinstance(event, str) and isinstance(proxy, str)):
            return []
        untold = fields.pop("untold", 0)
        found = [Event(at_ns, "untold", {"proxy": proxy, "events": untold})] if type(untold) is int and untold else []
        if event == "node_joined" and isinstance(run, str):
            return found + self._node_joined(at_ns, run, proxy, now)
        if event == "node_left" and isinstance(run, str):
            return found + self._node_left(at_ns, run, proxy)
        return [*found, Event(at_ns, event, fields)]

    def audited(self, at_ns: int, payload: object) -> list[Event]:
        """Take what came on `$fabric/audit/…`: what the proxy does not say of itself anyway."""
        fields = _flat(payload)
        event = fields.pop("event", None)
        fields.pop("unsaid", None)
        return [Event(at_ns, event, fields)] if isinstance(event, str) and event != "slow_reader_cut" else []

    def announced(self, at_ns: int, payload: object) -> list[Event]:
        """Take an announcement of a proxy: what it refuses more of is an event."""
        proxy, refused = (payload.get("name"), payload.get("refused")) if isinstance(payload, dict) else (None, None)
        if not (isinstance(proxy, str) and isinstance(refused, dict)):
            return []
        found = []
        for kind, count in list(refused.items())[:100]:
            if not isinstance(kind, str) or type(count) is not int:
                continue
            before = self._refused.get((proxy[:MAX_TEXT_CHARS], kind[:MAX_TEXT_CHARS]))
            self._refused[proxy[:MAX_TEXT_CHARS], kind[:MAX_TEXT_CHARS]] = count
            if before is not None and count > before:
                fields = {"proxy": proxy[:MAX_TEXT_CHARS], "kind": kind[:MAX_TEXT_CHARS], "parts": count - before}
                found.append(Event(at_ns, "refused", fields))
        return found

    def answered(self, at_ns: int, answer: Mapping[str, Any]) -> list[Event]:
        """Take a node's answer to the question "stats"."""
        name, proxy, run = (answer.get(key) for key in ("node", "proxy", "run"))
        if answer.get("answer") != "stats" or not all(isinstance(each, str) for each in (name, proxy, run)):
            return []
        known = self._known(str(run)[:MAX_TEXT_CHARS], str(proxy))
        known.name = known.name or str(name)
        found = []
        if (waiting := self._joined.pop(str(run), None)) is not None:
            found.append(Event(waiting[1], "node_joined", self._of(str(run), known)))
        figures = {key: answer[key] for key in FIGURES if type(answer.get(key)) is int}
        for key, count in figures.items():
            before = known.figures.get(key, 0 if known.is_new else count)
            if count > before:
                found.append(Event(at_ns, FIGURES[key], {**self._of(str(run), known), "messages": count - before}))
        known.figures = figures
        return found

    def wanted(self) -> list[tuple[str, str]]:
        """Return run and proxy of each node whose name is waited for."""
        return [(run, self._runs[run].proxy) for run in self._joined if run in self._runs]

    def due(self, now: float) -> list[Event]:
        """Return the nodes that joined and did not say their names in time. now: monotonic"""
        found = []
        for run, (since, at_ns) in list(self._joined.items()):
            if now - since >= NAME_S:
                del self._joined[run]
                found.append(Event(at_ns, "node_joined", self._of(run, self._runs.get(run) or _Run(""))))
        return found

    def service(self, at_ns: int, kind: str, service: str, instance: str) -> Event:
        """A service's instance has appeared, changed or left."""
        return Event(at_ns, f"service_{kind}", {"service": service, "instance": instance})

    def _node_joined(self, at_ns: int, run: str, proxy: str, now: float) -> list[Event]:
        known = self._runs.get(run)
        if known is not None and known.proxy not in ("", proxy):
            before, known.proxy = known.proxy, proxy
            return [Event(at_ns, "node_moved", {**self._of(run, known), "from": before})]
        is_back = known is not None
        known = self._known(run, proxy)
        known.proxy, known.is_new = proxy, not is_back
        if known.name:
            return [Event(at_ns, "node_joined", self._of(run, known))]
        self._joined[run] = now, at_ns
        return []

    def _node_left(self, at_ns: int, run: str, proxy: str) -> list[Event]:
        known = self._runs.get(run)
        if known is None:
            return [Event(at_ns, "node_left", {"proxy": proxy, "run": run})]
        if known.proxy not in ("", proxy):
            return []  # it has moved
        found = []
        if (waiting := self._joined.pop(run, None)) is not None:  # it was there for less than it takes to ask
            found.append(Event(waiting[1], "node_joined", self._of(run, known)))
        found.append(Event(at_ns, "node_left", {**self._of(run, known), "proxy": proxy}))
        known.proxy = ""
        return found

    def _known(self, run: str, proxy: str) -> _Run:
        if run not in self._runs:
            while len(self._runs) >= MAX_RUNS:
                del self._runs[next(iter(self._runs))]
            self._runs[run] = _Run(proxy[:MAX_TEXT_CHARS])
        return self._runs[run]

    def _of(self, run: str, known: _Run) -> dict[str, Any]:
        return {**({"node": known.name} if known.name else {}), "proxy": known.proxy, "run": run}


def words(event: Event) -> str:
    """Return an event as text behind its time: `node_joined  node=sub-4711@host proxy=p1`."""
    fields = " ".join(
        f"{key}={_word(value)}" for key, value in event.fields.items() if key not in ("run", "incarnation")
    )
    return f"{event.event}  {fields}".rstrip()


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    text = str(value)
    return f'"{text}"' if " " in text or not text else text


def _flat(payload: object) -> dict[str, Any]:
    """Return the fields of a map that a peer sent, as many and as long as who keeps to the rules sends."""
    if not isinstance(payload, dict):
        return {}
    found: dict[str, Any] = {}
    for key, value in list(payload.items())[:MAX_FIELDS]:
        if isinstance(value, str):
            found[key[:MAX_TEXT_CHARS]] = value[:MAX_TEXT_CHARS]
        elif value is None or type(value) in (bool, int, float):
            found[key[:MAX_TEXT_CHARS]] = value
        elif isinstance(value, list):
            found[key[:MAX_TEXT_CHARS]] = [str(each)[:MAX_TEXT_CHARS] for each in value[:MAX_FIELDS]]
    return found

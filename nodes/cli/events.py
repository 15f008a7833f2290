"""`fabric events`: what happens in the mesh, as a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import click

from fabric.node.coverage import Ack
from fabric.node.node import Node, NodeState
from fabric.payloads import dumps, to_json
from fabric.protocol import markers
from fabric.protocol.questions import EVENT, nodes_topic
from fabric.services.directory import Change
from fabric.services.presence import ANNOUNCE_S, Watcher
from fabric.wire import Message
from nodes.cli.exits import Exit, Fail, plain, say
from nodes.cli.options import MESH_TIMEOUT_S, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.shown import rfc3339
from nodes.cli.signals import on_ending_signal
from nodes.cli.stdout import Outlet, write_lines
from nodes.observe.events_view import Event, EventsView, words
from nodes.observe.survey import Asked, Survey

AUDITS = "$fabric/audit/+/+"
MAX_WAITING_EVENTS = 100_000
"""Between the mesh and a slow reader of stdout."""
LOOK_S = 0.1
ASK_EVERY_S = 0.2
"""How often those are asked for their names that have just joined: they may not hear the first question."""
MAX_NAMES_ASKED = 20
"""At once."""


@click.command()
@click.option("--event", "only", metavar="NAME", multiple=True,
              help="Show only events of this name. May be given several times.")  # fmt: skip
@click.option("--count", metavar="N", type=click.IntRange(1), help="End with 0 after N events.")
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), help="End after S seconds.")
@click.option("--interval", "interval_s", metavar="S", type=PositiveNumber(), default=2.0, show_default=True,
              help="How often to ask nodes what they have lost.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an event.")
@connect_option
@connect_timeout_option
def events(
    only: tuple[str, ...],
    count: int | None,
    timeout_s: float | None,
    interval_s: float,
    as_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Show what happens in the mesh, as it happens: one event a line, its time first (RFC 3339, UTC).

    \b
    node_joined, node_left        a node, at a proxy; a node that cannot be asked has no name
    node_moved                    from one proxy to another
    peer_joined, peer_left, peer_dead, link_up, link_down, ready, draining
                                  a proxy, as another one sees it, or itself
    slow_reader_cut               a subscriber took nothing for too long
    publisher_waited              for room, or for its proxy
    lost                          a node has lost messages, for good
    refused                       a proxy or a node refused what it was sent
    service_appeared, service_left
    connection_refused and others what a proxy with keys decided, for the role operator

    The times of nodes that join and leave, and of proxies, are those of the proxy's clock. What nodes have lost they
    are asked each --interval; where there are more than 200, a sample of them. With keys it takes the role operator or
    observer. With --timeout it ends with 1 when --count was not reached, or, without --count, when nothing happened.

    \b
    Examples:
      fabric events
      fabric events --json --event lost --event slow_reader_cut
      fabric events --event node_left --count 1 && echo one has left
    """
    with open_node(connect, connect_timeout_s) as node:
        stream = _Stream(node, only)
        with on_ending_signal(stream.outlet.end):
            stream.open()
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            return _print(stream, count, deadline, interval_s, as_json)


class _Stream:
    """Events, from all that tells of them, on their way to the one thread that writes them."""

    def __init__(self, node: Node, only: Iterable[str]) -> None:
        self._node, self._only = node, frozenset(only)
        self._view = EventsView()
        self._lock = threading.Lock()
        """Guards `_view`: the I/O thread and the one that asks change it."""
        self.outlet: Outlet[Event] = Outlet(MAX_WAITING_EVENTS)
        self._survey = Survey(node)
        self._may_ask = True
        """Whether the rules let this node ask others. Set by `open`."""
        self._asked: list[Asked] = []
        """Questions whose answers are taken: the last ones."""
        self._services_from = 0.0
        """From then on, monotonic, a service that appears was not there before: each announces itself every second."""
        self._next_poll = self._next_names = 0.0
        """When each is next due, monotonic."""

    def open(self) -> None:
        """Hear what is told from now on. Errors: Fail when the rules do not allow it; NotConnected"""
        node = self._node
        if denied := node.why_not("subscribe", f"{EVENT}#"):
            raise Fail(denied, Exit.DENIED)
        acked = threading.Event()
        self._survey.open(MESH_TIMEOUT_S)
        node.on_state(self._state_changed)
        node.subscribe(f"{markers.ANNOUNCE}+", self._announced)
        if node.why_not("subscribe", AUDITS) is None:
            node.subscribe(AUDITS, self._audited)
        if denied := node.why_not("publish", nodes_topic(node.stats()["proxy"] or "p")):
            self._may_ask = False
            say(f"nodes are not asked for names and losses: {denied}")
        self._services_from = time.monotonic() + ANNOUNCE_S + 0.5
        Watcher(node, self._service_changed).watch()
        self.poll(time.monotonic(), 0.0)
        node.subscribe(f"{EVENT}#", self._proxy_said, lambda ack: self._acknowledged(ack, acked))
        if not acked.wait(MESH_TIMEOUT_S):
            say("the mesh has not acknowledged yet that its events are heard")
        time.sleep(max(0.0, self._services_from - time.monotonic()))
        say("listening")

    def poll(self, now: float, interval_s: float) -> None:
        """Ask what is due, and take the answers that came. now: monotonic"""
        if not self._may_ask:
            return
        if now >= self._next_poll:
            self._next_poll = now + interval_s
            self._asked.append(self._survey.ask_nodes("stats", self._survey.nodes()))
        if now >= self._next_names:
            self._next_names = now + ASK_EVERY_S
            with self._lock:
                wanted = self._view.wanted()[-MAX_NAMES_ASKED:]
            self._asked += [self._survey.ask_nodes("stats", [proxy], run) for run, proxy in wanted]
        del self._asked[: -10 * MAX_NAMES_ASKED]
        for asked in self._asked:
            for _, answer in asked.new():
                self._tell(self._take(lambda answer=answer: self._view.answered(time.time_ns(), answer)))
        self._tell(self._take(lambda: self._view.due(now)))

    def _take(self, of: Any) -> list[Event]:
        with self._lock:
            found: list[Event] = of()
            return found

    def _tell(self, found: Iterable[Event]) -> None:
        for event in found:
            if not self._only or event.event in self._only:
                self.outlet.put(event)

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _acknowledged(self, ack: Ack, acked: threading.Event) -> None:
        acked.set()

    def _proxy_said(self, message: Message) -> None:
        now = time.monotonic()
        self._tell(self._take(lambda: self._view.proxy_said(message.sent_ns, message.payload, now)))

    def _audited(self, message: Message) -> None:
        self._tell(self._view.audited(message.sent_ns, message.payload))

    def _announced(self, message: Message) -> None:
        self._tell(self._take(lambda: self._view.announced(message.sent_ns, message.payload)))

    def _service_changed(self, change: Change) -> None:
        if change.kind == "left" or (change.kind == "appeared" and time.monotonic() >= self._services_from):
            found = self._view.service(time.time_ns(), change.kind, change.instance.service, change.instance.id)
            self._tell([found])

    def _state_changed(self, state: NodeState) -> None:
        fields = {"base": state.base, **({"why": state.reason} if state.reason else {})}
        self._tell([Event(time.time_ns(), f"own_node_{state.state}", fields)])


def _print(stream: _Stream, count: int | None, deadline: float | None, interval_s: float, as_json: bool) -> Exit:
    printed = 0
    while True:
        now = time.monotonic()
        stream.poll(now, interval_s)
        for event in stream.outlet.items(LOOK_S):
            write_lines([_line(event, as_json)])
            printed += 1
            if printed == count:
                return Exit.DONE
        if stream.outlet.ended:
            return Exit.DONE
        if deadline is not None and now >= deadline:
            return Exit.NOT_REACHED if count or not printed else Exit.DONE


def _line(event: Event, as_json: bool) -> str:
    at = rfc3339(event.at_ns)
    if as_json:
        return dumps(to_json({"at": at, "event": event.event, **event.fields}))
    return f"{at}  {plain(words(event))}"

"""What pages of one process share: names on the wire, timers, heartbeats, buttons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from fabric import Node
from fabric.errors import StateError
from fabric.services import Request, Server, each
from nodes.page import host as host_module
from nodes.page.host import PageHost, host_of
from nodes.page.interface import ButtonsCounted, ClockTicked, FrameNodeTold, Input, LeaseLost, SessionSpoke
from nodes.rules.proofs import FRESH_S, engagement_of, key_of, proves_renewal
from nodes.rules.spoken import by_agent
from nodes.rules.state_map import proven
from nodes.rules.topics import BUTTONS, FRAME_SERVICE
from tests.support.page_world import made
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

E = TypeVar("E")


class Page:
    """A page that keeps what its host tells it."""

    def __init__(self, session: str = "s" * 22, lease_s: float = 0.6) -> None:
        self.session, self.key, self.lease_s, self.is_ready = session, key_of(session), lease_s, True
        self.events = Box()

    def handle(self, *events: Input) -> None:
        for event in events:
            self.events(event)

    def heard(self, kind: type[E]) -> list[E]:
        """What it was told of this kind."""
        return [event for event in self.events.items if isinstance(event, kind)]

    def wait(self, kind: type[E], count: int = 1) -> list[E]:
        until(lambda: len(self.heard(kind)) >= count, f"{count} {kind.__name__}")
        return self.heard(kind)


@pytest.fixture
def node(mesh: list[ProxyProcess]) -> Iterator[Node]:
    with Node(mesh[0].base) as found:
        yield found


@pytest.fixture
def host(node: Node) -> PageHost:
    return host_of(node)


def test_one_host_for_a_node_and_none_when_it_is_closed(node: Node, host: PageHost) -> None:
    assert host_of(node) is host
    page = Page()
    host.add(page)
    with pytest.raises(StateError):
        host.add(Page())
    node.close()
    assert node not in host_module._hosts
    with pytest.raises(StateError):
        host.add(Page("t" * 22))


def test_names_on_the_wire(host: PageHost) -> None:
    assert host.topic("s1", "~pagesession/a/b") == f"~pagesession/{host.home}/s1/a/b"
    assert host.topic("s1", "truck/1") == "truck/1"


def test_a_message_reaches_its_page_and_no_other(mesh: list[ProxyProcess], node: Node, host: PageHost) -> None:
    page, other = Page("a" * 22), Page("b" * 22)
    host.add(page), host.add(other)
    until(lambda: host._ack is not None, "the sessions' subscription is acked")
    with Node(mesh[1].base) as agent:
        key = engagement_of(page.key, page.session, "ada")
        at, topic = time.time(), "~pagesession/x/y"
        told = by_agent(key, "ada", topic, 1, at)
        forged = [
            {"by": "page"},
            {"by": "ada"},
            None,
            {**told, "by": "bob"},
            {**told, "at": at + 1},
            by_agent(key, "ada", topic, 2, at),
            by_agent(key, "ada", "~pagesession/x", 1, at),
            by_agent(key, "ada", topic, 1, at - FRESH_S - 1),
            by_agent(key_of("ada"), "ada", topic, 1, at),
        ]
        for headers in (told, *forged, by_agent(key, "ada", topic, 1, at)):
            agent.publish(host.topic(page.session, topic), 1, headers)
        agent.publish(host.topic("c" * 22, "~pagesession/x"), 2)
        agent.publish(f"~pagesession/{host.home}", 3)
        until(lambda: host.counts["unknown_session"] == 2, "parts for nobody are counted")
    spoke = [event.message for event in page.heard(SessionSpoke)]
    assert [(message.payload, message.topic) for message in spoke] == [(1, "~pagesession/x/y")] * 2
    assert host.counts["unproven"] == len(forged) - 1, "what a page has said itself is no business of its own"
    assert other.heard(SessionSpoke) == []


def test_pages_are_woken_when_due_and_not_after_they_left(host: PageHost) -> None:
    page, gone = Page("a" * 22), Page("b" * 22)
    host.add(page), host.add(gone)
    now = time.monotonic()
    for due in (now + 0.05, now + 0.1, now + 3600):
        host.wake_at(page, due)
        host.wake_at(gone, due)
    host.remove(gone, release=False)
    page.wait(ClockTicked)
    assert time.monotonic() >= now + 0.05
    assert len(page.wait(ClockTicked, 2)) == 2 and gone.heard(ClockTicked) == []


def test_heartbeats_say_who_is_there_and_who_is_gone(node: Node, host: PageHost) -> None:
    known, lost, waiting, forged = (Page(letter * 22) for letter in "abcd")
    waiting.is_ready = False
    asked = Box()

    def serve(request: Request) -> Any:
        asked(request.body)
        news = proven(made(1, session=known.session), known.key, request.body["at"])
        return {"pages": {known.session: news, lost.session: None, forged.session: {**news, "version": 2**60}}}

    for page in (known, lost, waiting, forged):
        host.add(page)
    with Server(node, FRAME_SERVICE, each(serve)):
        known.wait(FrameNodeTold)
        lost.wait(LeaseLost)
        until(lambda: host.counts["unproven"] > 0, "what is not proven is counted")
        body = asked.items[0]
        assert body["sessions"] == [known.session, lost.session, forged.session]
        assert proves_renewal(lost.key, body["proofs"][1], body["at"])
    assert not forged.heard(FrameNodeTold)
    assert not waiting.heard(FrameNodeTold) and not waiting.heard(LeaseLost)


@pytest.mark.parametrize("reply", [None, 5, [], {}, {"pages": 3}, {"pages": {}}])
def test_a_heartbeats_answer_that_is_none_changes_nothing(node: Node, host: PageHost, reply: Any) -> None:
    page, asked = Page(), Box()
    host.add(page)

    def serve(request: Request) -> Any:
        asked(request)
        return reply

    with Server(node, FRAME_SERVICE, each(serve)):
        asked.wait(3)
    assert not page.heard(FrameNodeTold) and not page.heard(LeaseLost)


def test_buttons_of_frame_nodes_that_fall_silent_are_nobodys(
    node: Node, host: PageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "BUTTONS_SILENCE_S", 0.3)
    page = Page()
    host.add(page)
    until(lambda: host._ack is not None, "subscriptions are acked")
    node.publish_system(BUTTONS, {"help": 1})
    node.publish_system(BUTTONS, {"help": 1})
    node.publish_system(BUTTONS, "nonsense")
    assert [event.available for event in page.wait(ButtonsCounted, 2)] == [{"help": 1}, {}]

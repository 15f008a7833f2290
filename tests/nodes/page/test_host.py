"""What pages of one process share: names on the wire, timers, heartbeats, and what a heartbeat's answer means."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, NotAllowed, StateError
from fabric.services import Request, Server, each
from nodes.page import host as host_module
from nodes.page.frame_core import Ask
from nodes.page.host import PageHost, host_of
from nodes.rules.errors import LeaseExpired
from nodes.rules.topics import BUTTONS, FRAME_SERVICE
from tests.support.page_world import state
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until


class Page:
    """A page that keeps what its host tells it."""

    def __init__(self, session: str = "s" * 22, lease_s: float = 0.6) -> None:
        self.session, self.lease_s, self.is_ready = session, lease_s, True
        self.calls = Box()

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls((name, *arguments))

    def names(self) -> list[str]:
        return [call[0] for call in self.calls.items]


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
        for by in ({"by": "page"}, {"by": "ada"}, None):
            agent.publish(host.topic(page.session, "~pagesession/x/y"), 1, by)
        agent.publish(host.topic("c" * 22, "~pagesession/x"), 2)
        agent.publish(f"~pagesession/{host.home}", 3)
        until(lambda: host.counts["unknown_session"] == 2, "parts for nobody are counted")
    received = [call for call in page.calls.items if call[0] == "received"]
    assert [(call[1].payload, call[2]) for call in received] == [(1, "~pagesession/x/y")] * 2
    assert "received" not in other.names()


def test_pages_are_woken_when_due_and_not_after_they_left(host: PageHost) -> None:
    page, gone = Page("a" * 22), Page("b" * 22)
    host.add(page), host.add(gone)
    now = time.monotonic()
    for due in (now + 0.05, now + 0.1, now + 3600):
        host.wake_at(page, due)
        host.wake_at(gone, due)
    host.remove(gone, release=False)
    ticks = page.calls.wait_for(lambda items: sum(c[0] == "ticked" for c in items) == 2, "two wake-ups")
    assert all(call[1] >= now + 0.05 for call in ticks if call[0] == "ticked") and "ticked" not in gone.names()


def test_heartbeats_say_who_is_there_and_who_is_gone(node: Node, host: PageHost) -> None:
    known, lost, waiting = Page("a" * 22), Page("b" * 22), Page("c" * 22)
    waiting.is_ready = False
    asked = Box()

    def serve(request: Request) -> Any:
        asked(request.body)
        return {"pages": {known.session: state(1, session=known.session), lost.session: None}}

    for page in (known, lost, waiting):
        host.add(page)
    with Server(node, FRAME_SERVICE, each(serve)):
        known.calls.wait_for(lambda items: any(c[0] == "heard" for c in items), "a state")
        lost.calls.wait_for(lambda items: any(c[0] == "gone" for c in items), "that it is gone")
        assert asked.items[0] == {"sessions": [known.session, lost.session]}
    assert not {"heard", "gone"} & set(waiting.names())


@pytest.mark.parametrize("reply", [None, 5, [], {}, {"pages": 3}, {"pages": {}}])
def test_a_heartbeats_answer_that_is_none_changes_nothing(node: Node, host: PageHost, reply: Any) -> None:
    page, asked = Page(), Box()
    host.add(page)

    def serve(request: Request) -> Any:
        asked(request)
        return reply

    with Server(node, FRAME_SERVICE, each(serve)):
        asked.wait(3)
    assert not {"heard", "gone"} & set(page.names())


def test_answers_go_to_the_page(node: Node, host: PageHost) -> None:
    page = Page(lease_s=60.0)
    page.is_ready = False
    host.add(page)
    errors: list[BaseException | None] = [None, Busy("full", 7.0), NotAllowed("no"), LeaseExpired("late")]

    def serve(request: Request) -> Any:
        error = errors[request.body["n"]]
        if error is not None:
            raise error
        return "fine"

    with Server(node, FRAME_SERVICE, each(serve)):
        for number, operation in ((0, "trigger"), (1, "trigger"), (2, "trigger"), (3, "trigger"), (3, "stop")):
            before = len(page.calls)
            host.ask(page, Ask(operation, {"n": number}, f"key-{operation}-{number}"))
            page.calls.wait(before + (2 if number == 3 else 1))
        host.ask(page, Ask("grant_code", {"n": 2}, "key"))
        until(lambda: page.calls.items[-1][1] == Ask("grant_code", {"n": 2}, "key"), "the last answer")
    names = [name for name in page.names() if name not in ("session_acked", "buttons")]
    assert names == ["answered", "refused", "rejected", "rejected", "gone", "refused", "gone", "refused"]
    busy = page.calls.items[page.names().index("refused")]
    assert busy[2:4] == ("full", 7.0)


def test_buttons_of_frame_nodes_that_fall_silent_are_nobodys(
    node: Node, host: PageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "BUTTONS_SILENCE_S", 0.3)
    page = Page()
    host.add(page)
    until(lambda: host._ack is not None, "subscriptions are acked")
    node.publish(BUTTONS, {"help": 1})
    node.publish(BUTTONS, {"help": 1})
    node.publish(BUTTONS, "nonsense")
    told = page.calls.wait_for(lambda items: sum(c[0] == "buttons" for c in items) == 2, "both")
    assert [call[1] for call in told if call[0] == "buttons"] == [{"help": 1}, {}]

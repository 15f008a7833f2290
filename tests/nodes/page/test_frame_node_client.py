"""What pages ask of frame nodes: what an answer and a heartbeat mean, and that goodbyes can be waited for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, NotAllowed, RequestTimeout, StateError
from fabric.services import Request, Server, each
from nodes.page import frame_node_client
from nodes.page.frame_node_client import FrameNodeClient, outcome, renewal
from nodes.page.interface import (
    Ask,
    FrameNodeAnswered,
    FrameNodeRejected,
    FrameNodeTold,
    FrameNodeWasBusy,
    LeaseKept,
    LeaseLost,
)
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.rules.proofs import key_of
from nodes.rules.state_map import proven
from nodes.rules.topics import FRAME_SERVICE
from tests.support.page_world import made
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box


@pytest.fixture
def node(mesh: list[ProxyProcess]) -> Iterator[Node]:
    with Node(mesh[0].base) as found:
        yield found


class Page:
    """A page that keeps what it is told."""

    def __init__(self, session: str) -> None:
        self.session, self.key, self.lease_s, self.is_ready = session, key_of(session), 60.0, True
        self.events = Box()

    def handle(self, *events: Any) -> None:
        for event in events:
            self.events(event)


ANSWERED, BUSY, REJECTED, LOST = FrameNodeAnswered, FrameNodeWasBusy, FrameNodeRejected, LeaseLost


@pytest.mark.parametrize(
    ("error", "grant_code", "trigger", "stop"),
    [
        (None, [ANSWERED], [ANSWERED], [ANSWERED]),
        (Busy("full", 7.0), [BUSY], [BUSY], [BUSY]),
        (RequestTimeout("late"), [BUSY], [BUSY], [BUSY]),
        (NotAllowed("no"), [BUSY], [REJECTED], [BUSY]),
        (StateError("chat", "idle", "accept"), [BUSY], [REJECTED], [BUSY]),
        (UnknownContactCode("no"), [BUSY], [REJECTED], [BUSY]),
        (LeaseExpired("over"), [BUSY], [REJECTED, LOST], [BUSY, LOST]),
    ],
)
def test_what_an_answer_means_for_each_kind_of_request(
    error: Exception | None, grant_code: list[type], trigger: list[type], stop: list[type]
) -> None:
    """A code is asked for again whatever came; a stop is never wrong; all else may be."""
    for operation, kinds in (("grant_code", grant_code), ("trigger", trigger), ("stop", stop)):
        events = outcome(Ask(operation, {}, "key"), made(1), error, 3.0, 0.25)
        assert [type(event) for event in events] == kinds
        for event in events:
            match event:
                case FrameNodeAnswered(_, reply):
                    assert reply == made(1)
                case FrameNodeWasBusy(_, why, retry_after_s, drawn):
                    assert (why, drawn) == (str(error), 0.25)
                    assert retry_after_s == (7.0 if isinstance(error, Busy) else 0.0)
                case LeaseLost(asked_at):
                    assert asked_at == 3.0


def test_an_answer_that_is_not_proven_is_none() -> None:
    (event,) = outcome(Ask("grant_code", {}, "key"), None, None, 3.0, 0.25)
    assert isinstance(event, FrameNodeWasBusy) and "not proven" in event.why


def test_what_a_heartbeat_means() -> None:
    news, page = made(1), Page("s")
    told = proven(news, page.key, 5.0)
    assert renewal(page, {"pages": {"s": told}}, 3.0, 5.0) == [LeaseKept(3.0), FrameNodeTold(news)]
    assert renewal(page, {"pages": {"s": None}}, 3.0, 5.0) == [LeaseLost(3.0)]
    for forged in (news, {**told, "version": 2**60}, {**told, "proof": "0" * 32}, proven(news, page.key, 4.0), 5):
        assert renewal(page, {"pages": {"s": forged}}, 3.0, 5.0) is None
    junks: list[object] = [None, 5, [], {}, {"pages": 3}, {"pages": {}}, {"pages": {"other": None}}]
    for junk in junks:
        assert renewal(page, junk, 3.0, 5.0) == []


def test_each_page_hears_of_its_own_in_one_request_for_many(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_node_client, "MAX_SESSIONS", 2)
    asked = Box()

    def serve(request: Request) -> Any:
        asked(request.body["sessions"])
        at = request.body["at"]
        told = {name: proven({"session": name}, key_of(name), at) for name in request.body["sessions"]}
        return {"pages": told}

    client, pages = FrameNodeClient(node, Counter()), [Page(name) for name in "abc"]
    with Server(node, FRAME_SERVICE, each(serve)) as server:
        assert server.wait_ready(10)
        now = time.monotonic()
        client.renew(pages, now, deadline_s=10.0)
        for page in pages:
            assert page.events.wait(2) == [LeaseKept(now), FrameNodeTold({"session": page.session})]
    assert sorted(asked.items) == [["a", "b"], ["c"]]
    client.close()


def test_goodbyes_are_waited_for_and_no_page_hears_of_anything_after_the_end(node: Node) -> None:
    inside, go_on = Box(), threading.Event()

    def serve(request: Request) -> Any:
        inside(request.op)
        return go_on.wait(10)

    counts: Counter[str] = Counter()
    client, page = FrameNodeClient(node, counts), Page("a")
    with Server(node, FRAME_SERVICE, each(serve)) as server:
        assert server.wait_ready(10)
        client.release(page)
        inside.wait()
        assert not client.flush(0.05)
        go_on.set()
        assert client.flush(10)
        go_on.clear()
        client.ask(page, Ask("trigger", {}, "key"))
        inside.wait(2)
        client.close()
        go_on.set()
    client.ask(page, Ask("trigger", {}, "key"))
    client.release(page)
    assert page.events.items == [] and counts == {"dropped": 1}

"""What is local stays local: nothing under `~/` is ever on a wire, whoever listens. Two proxies, real processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import zmq

from fabric import Node
from fabric.endpoints import Endpoints
from fabric.errors import ScopeError
from fabric.wire import Encoder
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, mesh, until

pytestmark = pytest.mark.plain_sockets

Proxies = list[ProxyProcess]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


class Capture:
    """A plain SUB socket, subscribed to everything, at one port of every proxy. `parts` reads up to a part `END`."""

    END = b"the-end"

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: list[str]) -> None:
        self.sockets = []
        for endpoint in endpoints:
            socket = context.socket(zmq.SUB)
            socket.rcvhwm = 0
            socket.rcvtimeo = 10_000
            socket.subscribe(b"")
            socket.connect(endpoint)
            self.sockets.append(socket)

    def parts(self) -> list[list[bytes]]:
        """Return what each socket has received before END."""
        return [
            list(itertools.takewhile(lambda part: not part.startswith(self.END), iter(s.recv, b"")))
            for s in self.sockets
        ]

    def close(self) -> None:
        for socket in self.sockets:
            socket.close(0)


@pytest.fixture
def capture(two: Proxies) -> Iterator[Capture]:
    """Everything that leaves a proxy: its guest port has what is published here and what comes from others."""
    with zmq.Context() as context:
        found = Capture(context, [Endpoints.parse(proxy.base).guest for proxy in two])
        with Node(two[0].base) as first, Node(two[1].base) as second:
            # Both captures are connected, to own and other publishers' streams, once each has heard both.
            for socket in found.sockets:
                heard: set[bytes] = set()

                def both(socket: zmq.Socket[bytes] = socket, heard: set[bytes] = heard) -> bool:
                    first.publish("probe/1", None)
                    second.publish("probe/2", None)
                    while socket.poll(20):
                        heard.add(socket.recv().partition(b"\0")[0])
                    return {b"probe/1", b"probe/2"} <= heard

                until(both, "the capture hears both proxies")
        yield found
        found.close()


def test_nothing_local_is_ever_on_the_wire(two: Proxies, capture: Capture) -> None:
    boxes = [Box(), Box()]
    with Node(two[0].base) as here, Node(two[1].base) as there, Node(two[0].base) as last:
        for node, box in zip((here, there), boxes, strict=True):
            for topic_filter in ("~/#", "~/a/+", "~/a/b"):
                assert node.wait_ack(node.subscribe(topic_filter, box), 1).ok
        for number in range(100):
            here.publish("~/a/b", number)
            here.publish("a/b", number)
        boxes[0].wait(300)
        assert here.close() == 0
        last.publish(Capture.END.decode(), None)  # behind all that, by the same way
        received = capture.parts()
        for parts in received:
            assert sum(part.startswith(b"a/b\0") for part in parts) > 100, "what is not local, and its tail"
            assert not [part for part in parts if part.startswith(b"~")]
    assert not boxes[1].items, "another node's local topics are its own"


def test_a_subscription_to_local_topics_never_leaves_the_node(two: Proxies) -> None:
    with Node(two[0].base) as here:
        until(lambda: here.stats()["proxy"] == "p1", "it listens to its proxy")
        before = here.stats()["interest"]
        for number in range(50):
            here.wait_ack(here.subscribe(f"~/{number}/#", print), 1)
        assert here.stats()["interest"] == before


def test_what_a_hostile_peer_publishes_under_local_scopes_reaches_nobody(two: Proxies) -> None:
    """It writes to `in` by hand, past every check of a node. The proxy refuses, and counts; so would the receiver."""
    box, all_of_it, refused = Box(), Box(), Box()
    with Node(two[1].base) as here, zmq.Context() as context, context.socket(zmq.PUSH) as hostile:
        hostile.linger = 5_000
        hostile.connect(Endpoints.parse(two[0].base).ingress)
        here.wait_ack(here.subscribe("~/#", box), 5)
        here.wait_ack(here.subscribe("~/page", box), 5)
        assert here.wait_ack(here.subscribe("#", all_of_it), 5).ok, "it holds the empty prefix: all of it arrives"
        encoder = Encoder(7)
        for raw in (b"~/page", b"~", b"~other/x", b"~pagesessions/h/s/x"):
            hostile.send(encoder.part(raw + b"\0", 1, 1, "evil"))
        hostile.send(encoder.part(b"good\0", 1, 1, "good"))
        all_of_it.wait_for(lambda items: any(m.payload == "good" for m in items), "the last part")
        here.subscribe("$fabric/proxy/p1", lambda message: refused(message.payload["refused"]))
        refused.wait_for(lambda items: items[-1].get("local_scope") == 4, "the proxy has counted them")
        assert here.stats()["refused"] == {}
        assert not box.items and [m.topic for m in all_of_it.items] == ["good"]


def test_wildcards_never_reach_reserved_levels(two: Proxies) -> None:
    """`#` and `+/…` of a node bring neither the fabric's own topics, nor pages' sessions."""
    box, session = Box(), Box()
    with Node(two[0].base) as here, Node(two[1].base) as there:
        for topic_filter in ("#", "+/+/+/+", "+/#"):
            here.wait_ack(here.subscribe(topic_filter, box), 5)
        here.wait_ack(here.subscribe(f"~pagesession/{there.home}/s/#", session), 5)
        there.publish(f"~pagesession/{there.home}/s/x", 1)
        announced = Box()
        here.wait_ack(here.subscribe("$fabric/proxy/+", announced), 5)
        announced.wait(2)
        there.publish("end", 2)
        session.wait()
        box.wait_for(lambda items: any(m.topic == "end" for m in items), "the end")
        assert {m.topic for m in box.items} == {"end"}


def test_two_pages_of_one_host_never_hear_each_other(two: Proxies) -> None:
    first, second, host = Box(), Box(), Box()
    with Node(two[0].base) as pages, Node(two[1].base) as agent:
        home = pages.home
        pages.wait_ack(pages.subscribe(f"~pagesession/{home}/#", host), 5)
        assert agent.wait_ack(agent.subscribe(f"~pagesession/{home}/s1/#", first), 5).ok
        assert agent.wait_ack(agent.subscribe(f"~pagesession/{home}/s2/#", second), 5).ok
        with pytest.raises(ScopeError):
            agent.subscribe(f"~pagesession/{home}/+/chat", print)
        for session in ("s1", "s2", "s10", "s1x"):
            pages.publish(f"~pagesession/{home}/{session}/chat", session)
        host.wait(4)
        pages.publish(f"~pagesession/{home}/s1/end", "end")
        pages.publish(f"~pagesession/{home}/s2/end", "end")
        assert [m.payload for m in first.wait(2)] == ["s1", "end"]
        assert [m.payload for m in second.wait(2)] == ["s2", "end"]

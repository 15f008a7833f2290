"""A page's `~/` never leaves it: a capture of everything at every proxy while a page works through every call; and
nothing that comes from outside gets in under it. Two proxies, a frame node, an agent, real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq

from fabric import Node
from fabric.endpoints import Endpoints
from fabric.errors import ScopeError
from fabric.wire import Encoder
from nodes.agent.agent import Agent
from nodes.page.hosted_page import HostedPage
from nodes.rules.proofs import engagement_of
from nodes.rules.spoken import by_agent
from tests.e2e.test_scope import Capture
from tests.nodes.page.test_hosted_page import Watched
from tests.support.site import Site, site
from tests.support.waiting import Box, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site"), proxies=2) as found:
        yield found


@pytest.fixture
def capture(world: Site) -> Iterator[Capture]:
    with zmq.Context() as context:
        found = Capture(context, [Endpoints.parse(proxy.base).guest for proxy in world.proxies])
        yield found
        found.close()


def hears_all(capture: Capture, node: Node) -> None:
    """Wait until the capture hears, at every proxy, what this node publishes."""
    for socket in capture.sockets:

        def heard(socket: zmq.Socket[bytes] = socket) -> bool:
            node.publish("probe", None)
            while socket.poll(20):
                if socket.recv().startswith(b"probe\0"):
                    return True
            return False

        until(heard, "the capture hears the page's node")


def every_call(page: HostedPage) -> None:
    """Everything that a page can do, with local topics wherever they are possible."""
    ident = page.subscribe("~/#", lambda _: None, lambda _: None)
    page.subscribe("~/a/+", lambda message: page.publish("~/answer", message.payload))
    page.publish("~/a/b", "local secret")
    page.publish("~/site_connect/mine", {"code": "local secret"})
    page.publish("~pagesession/x", "shared")
    page.publish("a/b", "public")
    for topic in ("show_frame", "minimize_frame", "hide_frame", "chat/stop"):
        page.publish(f"~pagesession/{topic}", None)
    page.publish("~pagesession/chat/trigger", {"button": "help"})
    page.send_update("local", snapshot=True)
    page.unsubscribe(ident)
    page.publish("~/a/c", "local secret")


def test_a_capture_sees_nothing_local_while_a_page_works_through_every_call(world: Site, capture: Capture) -> None:
    page = Watched(buttons=["help"])
    every_call(page)
    with Node(world.base) as node, Node(world.proxies[1].base) as other, Agent(other, "ada", "Ada") as ada:
        hears_all(capture, node)
        page.attach(node)
        assert ada.wait_ready(10)
        ada.join(page.code()).result(10)
        page.wait("cobrowsing/start")
        every_call(page)
        assert page.stop_session().wait(10)
        page.wait("/new_code")
        page.close()
        node.publish(Capture.END.decode(), None)
        received = capture.parts()
    for parts in received:
        topics = [part.partition(b"\0")[0] for part in parts]
        assert any(topic.endswith(b"/frame/state") for topic in topics) and b"a/b" in topics, "it did see the page"
        assert not [topic for topic in topics if topic == b"~" or topic.startswith(b"~/")]
        assert not [part for part in parts if b"local secret" in part]


def test_what_a_hostile_peer_publishes_under_local_topics_reaches_no_page(world: Site) -> None:
    """By hand, at `in`, past every check of ours: `~/…` itself, and a session's topics that only the frame decides."""
    with Node(world.base) as node, zmq.Context() as context, context.socket(zmq.PUSH) as hostile:
        page = Watched(node, buttons=["help"])
        page.code()
        everything = Box()
        page.subscribe("#", everything)
        page.subscribe("+/ready", everything)
        before = len(page.seen.items)
        encoder = Encoder(7)
        hostile.linger = 5_000
        hostile.connect(Endpoints.parse(world.proxies[1].base).ingress)
        space = f"~pagesession/{node.home}/{page.session}"
        topics = ["~/site_connect/ready", "~/x", "~", "~other/x", f"{space}/cobrowsing/start", f"{space}/chat/accepted"]
        topics += [f"{space}/show_frame", f"{space}/cobrowsing/update", f"~pagesession/{page.session}/cobrowsing/stop"]
        topics += [f"{space}/chat/message"]  # there is no chat
        said = {"code": "evil", "text": "the last"}
        for number, topic in enumerate(topics, 1):
            hostile.send(encoder.part(topic.encode() + b"\0", number, 1, said))
        shared = engagement_of(page.key, page.session, "ada")
        proven = by_agent(shared, "ada", "~pagesession/note", said, time.time())
        hostile.send(encoder.part(f"{space}/note".encode() + b"\0", 99, 1, said, proven))
        page.wait("note")
        assert [message.topic for message in page.seen.items[before:]] == ["~pagesession/note"]
        assert not any(message.topic.startswith("~") for message in everything.items)
        page.close()


def test_two_pages_of_one_process_and_one_of_another_never_hear_each_other(world: Site) -> None:
    with Node(world.base) as node, Node(world.proxies[1].base) as other:
        pages = [Watched(node), Watched(node), Watched(other)]
        for page in pages:
            page.code()
        for page in pages:
            page.publish("~pagesession/secret", page.session)
            page.publish("~/secret", page.session)
            with pytest.raises(ScopeError):
                page.publish(f"~pagesessions/{pages[0].session}/x", 1)
        arrived = Box()
        for each in (node, other):
            assert each.wait_ack(each.subscribe("end", arrived), 10).ok
        for each in (node, other):
            each.publish("end", None)
        arrived.wait(4)
        for page in pages:
            secrets = [message.payload for message in page.seen.items if message.topic.endswith("/secret")]
            assert secrets == [page.session] * 2
            page.close()

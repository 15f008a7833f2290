"""`HostedPage` on a real proxy and a real frame node: the shell's own business, threads, order, many pages, its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import HighWaterMarkReached, LocalWireError, StateError
from nodes.agent.agent import Agent
from nodes.page.host import host_of
from nodes.page.hosted_page import HostedPage
from nodes.rules.backoff import Backoff
from tests.support.site import Site, site
from tests.support.waiting import Box, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def node(world: Site) -> Iterator[Node]:
    with Node(world.base) as found:
        yield found


@pytest.fixture
def events() -> Box:
    return Box()


@pytest.fixture
def agent(world: Site, events: Box) -> Iterator[Agent]:
    with Node(world.base) as found, Agent(found, "ada", "Ada", on_event=events, lease_s=3.0) as ada:
        assert ada.wait_ready(10)
        yield ada


AS_TIME_GOES_BY = ("signed_in", "lease_uncertain", "pulse", "message")
"""What an agent is told at any moment, more of it the slower the machine is: not by what a test does."""


class Watched(HostedPage):
    """A page whose events are kept, by topic without its scope."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen = Box()
        for topic_filter in ("~/#", "~pagesession/#"):
            self.subscribe(topic_filter, self.seen)

    def wait(self, topic: str, count: int = 1) -> Any:
        """Return the payload of the latest message of this topic, once there are so many."""

        def of(items: list[Any]) -> list[Any]:
            return [m.payload for m in items if m.topic.endswith(topic)]

        return of(self.seen.wait_for(lambda items: len(of(items)) >= count, f"{count} {topic}"))[-1]

    def code(self) -> str:
        return str(self.wait("/ready")["code"])


def join(page: Watched, agent: Agent) -> None:
    page.subscribe("~pagesession/cobrowsing/snapshot_request", lambda _: page.send_update("whole", snapshot=True))
    agent.join(page.code()).result(10)
    page.wait("cobrowsing/start")


def test_a_program_answers_for_its_visitor(node: Node, agent: Agent, events: Box) -> None:
    page = Watched(node, consent="ask")
    assert page.asked() is None
    agent.join(page.code()).result(10)
    request = page.wait("cobrowsing/asked")
    assert page.asked() == request == {
        "epoch": 1, "agent": "ada", "name": "Ada", "capability": "view", "by": "code",
    }  # fmt: skip
    assert not page.send_update("early", snapshot=True)
    page.decline(1)
    assert page.asked() is None, "at once"
    assert page.wait("cobrowsing/declined")["reason"] == "declined"
    agent.join(str(page.wait("/new_code")["code"])).result(10)
    assert page.wait("cobrowsing/asked", 2)["epoch"] == 2
    page.allow(1)
    page.allow(2)
    assert page.wait("cobrowsing/start") == {"epoch": 2, "agent": "ada"}
    assert page.stop_session().wait(10)
    told = [event["event"] for event in events.items if event["event"] not in AS_TIME_GOES_BY]
    assert told == ["requested", "request_declined", "requested", "joined", "stopped"]
    page.close()


def test_alone_it_works_at_once() -> None:
    page, acks = Watched(), Box()
    page.subscribe("~/x", print, acks)
    page.publish("~/x", 1)
    assert [m.payload for m in page.seen.items] == [1] and acks.items[0].ok
    assert not page.send_update("x")
    assert page.stop_session().wait(0), "nobody has ever heard of it"
    page.close()
    page.publish("~/x", 2)
    assert len(page.seen.items) == 1


def test_attached_later_what_waited_goes_out_in_order(node: Node, world: Site) -> None:
    arrived, acks = Box(), Box()
    page = Watched()
    with Node(world.base) as other:
        assert other.wait_ack(other.subscribe("truck/+", arrived), 10).ok
        held = page.subscribe("truck/#", page.seen, acks)
        for number in range(50):
            page.publish(f"truck/{number % 3}", number)
        page.attach(node)
        page.publish("truck/0", 50)
        assert [m.payload for m in arrived.wait(51)] == list(range(51))
        assert acks.wait()[0].ok and acks.items[0].covered
        other.publish("truck/x", "for the page")
        page.wait("truck/x")
        page.unsubscribe(held)
        with pytest.raises(KeyError):
            page.unsubscribe(held)
        with pytest.raises(StateError):
            page.attach(node)
    page.close()


def test_two_pages_of_one_process_never_hear_each_other(node: Node) -> None:
    first, second = Watched(node), Watched(node)
    first.code(), second.code()
    for page in (first, second):
        page.publish("~pagesession/x", page.session)
        page.publish("~/x", page.session)
    last = threading.Event()
    node.wait_ack(node.subscribe("end", lambda _: last.set()), 10)
    node.publish("end", None)
    assert last.wait(10)
    for page in (first, second):
        assert [m.payload for m in page.seen.items if m.topic.endswith("/x")] == [page.session] * 2
        page.close()


def test_a_handler_may_do_everything(node: Node, agent: Agent) -> None:
    page, done = Watched(node), Box()

    def handler(message: Any) -> None:
        ident = page.subscribe("~/again", done)
        page.publish("~/again", 1)
        page.publish("a/b", 1)
        page.unsubscribe(page.subscribe("~/y", done))
        assert not done.items, "one handler at a time, also in one thread"
        page.send_update("x")
        page.stop_session()
        done.ident = ident  # type: ignore[attr-defined]

    page.subscribe("~pagesession/cobrowsing/start", handler)
    agent.join(page.code()).result(10)
    done.wait()
    page.wait("cobrowsing/stop")
    page.wait("/new_code")
    page.close()


def test_a_handler_that_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    page, after = HostedPage(), Box()

    def bad(message: Any) -> None:
        raise ValueError("on purpose")

    page.subscribe("~/x", bad)
    page.subscribe("~/x", after)
    page.publish("~/x", "secret payload")
    assert len(after.items) == 1 and "on purpose" in caplog.text and "secret payload" not in caplog.text


def test_updates_end_with_the_stop_from_any_thread(node: Node, agent: Agent, events: Box) -> None:
    page = Watched(node)
    join(page, agent)
    ended = threading.Event()
    after_stop: list[bool] = []

    def send() -> None:
        number = 0
        while not ended.is_set():
            stopped = page_stopped.is_set()
            number += 1
            if page.send_update(number) and stopped:
                after_stop.append(True)

    page_stopped = threading.Event()
    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    events.wait_for(lambda items: sum(e["event"] == "update" for e in items) > 100, "updates at the agent")
    stop = page.stop_session()
    page_stopped.set()
    assert stop.wait(10)
    at = time.monotonic()
    ended.set()
    for sender in senders:
        sender.join()
    assert after_stop == []
    page.wait("/new_code")
    assert all(e["epoch"] == 1 for e in events.items if e["event"] == "update") and at
    page.close()


def test_it_goes_on_by_itself_while_the_frame_node_is_away(tmp_path: Any) -> None:
    with site(tmp_path, "none") as alone, Node(alone.base) as node:
        page = Watched(node, backoff=Backoff(base_s=0.2, cap_s=0.5, attempts=100), lease_s=60.0, buttons=["help"])
        page.wait("/retry")
        alone.start_frame()
        code = page.code()
        page.wait("help/disabled")
        alone.frames[0].kill()
        stop = page.stop_session()
        page.publish("~pagesession/show_frame", None)
        assert not stop.wait(0.2)
        alone.restart_frame()
        assert stop.wait(20)
        late = Box()
        page.subscribe("~/site_connect/ready", late)
        until(lambda: page._core.frame.state["visibility"] == "shown", "the request that waited is done")
        assert late.items[0].payload == {"code": code}, "same session, same code"
        page.close()


def test_a_lost_lease_brings_a_new_code(node: Node, world: Site) -> None:
    page = Watched(node, lease_s=1.0)
    page.code()
    host = host_of(node)
    host._renew_at = time.monotonic() + 5.0  # it is not renewed, as if this process had been held up
    page.wait("/new_code")
    page.close()


def test_loaded_again_the_session_goes_on(node: Node, agent: Agent, events: Box) -> None:
    page = Watched(node)
    join(page, agent)
    page.close(release=False)
    again = Watched(node, secret=page.secret)
    again.subscribe("~pagesession/cobrowsing/snapshot_request", lambda _: again.send_update("anew", snapshot=True))
    again.wait("cobrowsing/start")
    until(lambda: again.send_update("more"), "it is in session again")
    events.wait_for(lambda items: any(e.get("update") == "anew" for e in items), "a snapshot of the new page")
    assert again.stop_session().wait(10)
    again.close()


def test_many_pages_share_one_subscription_and_one_heartbeat(node: Node) -> None:
    pages = [Watched(node, lease_s=6.0) for _ in range(300)]
    codes = {page.code() for page in pages}
    assert len(codes) == 300
    assert node.stats()["interest"]["wire"] < 20
    before = host_of(node).frame_node.stats()["requests"]
    until(lambda: host_of(node).frame_node.stats()["requests"] >= before + 3, "heartbeats", 30)
    assert host_of(node).frame_node.stats()["requests"] < before + 10
    assert not any("new_code" in m.topic for page in pages for m in page.seen.items)
    for page in pages:
        page.close()
    assert host_of(node).flush(10)


def test_errors_come_to_the_caller(node: Node) -> None:
    page = HostedPage()
    with pytest.raises(LocalWireError):
        page.publish("a", object())
    for number in range(1_000):
        page.publish("a", number)
    with pytest.raises(HighWaterMarkReached):
        page.publish("a", 0)
    twin = HostedPage(node, secret=page.secret)
    with pytest.raises(StateError):
        page.attach(node)
    twin.close()
    page.attach(node)
    page.close()
    with pytest.raises(StateError):
        page.attach(node)


def test_it_outlives_its_node(world: Site) -> None:
    seen = Box()
    with Node(world.base) as node:
        page = Watched(node)
        page.code()
    page.subscribe("~/x", seen)
    page.publish("~/x", 1)
    page.publish("a/b", 1)
    page.stop_session()
    assert len(seen.items) == 1 and not page.send_update("x")
    page.close()


def test_a_session_that_goes_on_elsewhere_has_moved(world: Site, node: Node) -> None:
    page = Watched(node)
    code = page.code()
    assert not page.has_moved and [event.payload for event in page.retained()] == [{"code": code}]
    with Node(world.base) as other:
        again = Watched(other, secret=page.secret)
        assert again.code() == code
        until(lambda: page.has_moved, "the first home hears of it")
        assert not again.has_moved
        page.close(release=False)
        again.close()

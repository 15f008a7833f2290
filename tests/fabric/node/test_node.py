"""Node: everything its docstrings promise, against two meshed proxies in processes of their own."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fabric import Ack, Message, Node, NodeState
from fabric.errors import (
    FabricError,
    HighWaterMarkReached,
    InvalidFilter,
    InvalidTopic,
    LocalWireError,
    NotConnected,
    ScopeError,
    StateError,
)
from fabric.headers import RESERVED
from tests.support.processes import ROOT, Process, ProxyProcess, environment, free_base
from tests.support.waiting import Box, mesh, until

Proxies = list[ProxyProcess]
STOP, CONTINUE = 19, 18


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    """Two meshed proxies for the tests that leave them as they are."""
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@pytest.fixture
def here(two: Proxies) -> Iterator[Node]:
    with Node(two[0].base, name="here") as node:
        yield node


@pytest.fixture
def there(two: Proxies) -> Iterator[Node]:
    with Node(two[1].base, name="there") as node:
        yield node


def acked(node: Node, topic_filter: str, fun: Any = print) -> int:
    ident = node.subscribe(topic_filter, fun)
    ack = node.wait_ack(ident, 10)
    assert ack.ok, ack
    return ident


# --- messages


def test_nodes_of_one_process_may_share_a_context(two: Proxies) -> None:
    context = zmq.Context()
    with Node(two[0].base, context=context) as first:
        with Node(two[1].base, context=context) as second:
            box = Box()
            acked(second, "shared/#", box)
            first.publish("shared/x", 1)
            until(lambda: len(box) == 1, "it has come")
        assert not context.closed
        assert first.publish("shared/x", 2) == 2
    context.term()  # would wait for ever for a socket that is still open


def test_a_message_crosses_the_mesh_with_all_its_fields(here: Node, there: Node) -> None:
    box = Box()
    acked(here, "truck/+/temperature", box)
    before = time.time_ns()
    assert there.publish("truck/0001/temperature", {"c": 21.5, "raw": b"\0\1"}) == 1
    assert there.publish("truck/0001/temperature", None, {"id": "x"}) == 2
    assert there.publish("truck/0002/temperature", [1, True]) == 1, "numbers count for each topic"
    first, second, other = box.wait(3)
    assert first.topic == "truck/0001/temperature" and first.payload == {"c": 21.5, "raw": b"\0\1"}
    assert (first.number, second.number, other.number) == (1, 2, 1)
    assert first.publisher == second.publisher == other.publisher
    assert before <= first.sent_ns <= time.time_ns()
    assert not first.headers and second.headers["id"] == "x"


def test_overlapping_subscriptions_each_get_a_message_once(here: Node, there: Node) -> None:
    boxes = [Box() for _ in range(5)]
    for topic_filter, box in zip(("o/#", "o/+", "o/a", "o/a", "+/a"), boxes, strict=True):
        acked(here, topic_filter, box)
    for number in range(10):
        there.publish("o/a", number)
    for box in boxes:
        box.wait(10)
    there.publish("o/a", "last")
    for box in boxes:
        assert box.wait(11)[-1].payload == "last" and box.payloads() == [*range(10), "last"]


def test_only_what_a_filter_matches_is_handed_over(here: Node, there: Node) -> None:
    box, end = Box(), Box()
    acked(here, "m/+/x", box)
    acked(here, "m/end", end)
    for topic in ("m/1/x", "m/1/y", "m/1/x/2", "m/x", "m", "ma/1/x", "m//x"):
        there.publish(topic, topic)
    there.publish("m/end", 0)
    end.wait()
    assert box.payloads() == ["m/1/x", "m//x"]
    assert here.stats()["over_delivered"] == 3, "m/1/y, m/1/x/2 and m/x share the prefix m/ and match nothing"


def test_own_messages_come_too(here: Node) -> None:
    box = Box()
    acked(here, "own/#", box)
    here.publish("own/1", 1)
    assert box.wait()[0].payload == 1


def test_after_unsubscribe_nothing_comes_and_others_go_on(here: Node, there: Node) -> None:
    gone, stays = Box(), Box()
    ident = acked(here, "u/1", gone)
    acked(here, "u/#", stays)
    there.publish("u/1", 1)
    gone.wait()
    stays.wait()
    here.unsubscribe(ident)
    there.publish("u/1", 2)
    stays.wait(2)
    assert gone.payloads() == [1] and stays.payloads() == [1, 2]


def test_a_subscription_that_comes_back_reports_no_gap(here: Node, there: Node) -> None:
    """What was published while nobody here wanted it is not lost."""
    gaps, box, passed = Box(), Box(), Box()
    here.on_gap(gaps)
    acked(there, "back/1", passed)
    for number, topic_filter in enumerate(("back/1", "back/+")):
        ident = acked(here, topic_filter, box)
        there.publish("back/1", "heard")
        box.wait()
        here.unsubscribe(ident)
        acked(here, f"other/{number}")  # an ack behind the cancel: it has reached the mesh
        there.publish("back/1", "unheard")
        passed.wait_for(lambda items, at=number: len(items) == 3 * at + 2, "it has gone by")  # type: ignore[misc]
        ident = acked(here, topic_filter, box)
        there.publish("back/1", "again")
        box.wait(2)
        here.unsubscribe(ident)
        assert box.payloads() == ["heard", "again"] and not gaps.items, gaps.items
        box.items.clear()


def test_two_threads_on_one_topic_keep_the_numbers_in_order(here: Node, there: Node) -> None:
    box, returned = Box(), Box()
    acked(here, "race", box)

    def work() -> None:
        returned([there.publish("race", None) for _ in range(5_000)])

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [message.number for message in box.wait(10_000)]
    assert numbers == list(range(1, 10_001))
    assert sorted(returned.items[0] + returned.items[1]) == numbers
    assert all(each == sorted(each) for each in returned.items)


# --- acks


def test_an_ack_names_who_is_covered_and_comes_once(here: Node) -> None:
    acks = Box()
    ident = here.subscribe("acks/1", print, acks)
    ack = here.wait_ack(ident, 10)
    assert ack.ok and ack.covered == ("p1", "p2") and ack.missing == () and ack.error is None
    assert 0 < ack.elapsed_s < 5
    acks.wait()
    assert here.wait_ack(ident, 0) == ack, "it can be asked for again"
    here.unsubscribe(ident)
    acked(here, "acks/2")
    assert acks.items == [ack]


def test_a_filter_that_is_covered_by_what_is_acked_is_acked_without_the_network(two: Proxies, here: Node) -> None:
    acked(here, "wide/#")
    two[0].signal(STOP)
    try:
        assert here.wait_ack(here.subscribe("wide/1/x", print), 2).ok
        with pytest.raises(TimeoutError, match="no ack for subscription"):
            here.wait_ack(here.subscribe("elsewhere", print), 0.2)
    finally:
        two[0].signal(CONTINUE)


def test_who_unsubscribes_before_the_ack_is_told_once(two: Proxies, here: Node) -> None:
    acks = Box()
    two[0].signal(STOP)
    try:
        here.unsubscribe(here.subscribe("early", print, acks))
        ack: Ack = acks.wait()[0]
    finally:
        two[0].signal(CONTINUE)
    assert not ack.ok and "unsubscribed" in str(ack.error)
    acked(here, "later")
    assert len(acks) == 1


def test_waiting_for_the_ack_of_what_is_gone_is_an_error(here: Node) -> None:
    for number in (0, 10_000):
        with pytest.raises(KeyError, match="no subscription"):
            here.wait_ack(number, 1)
        with pytest.raises(KeyError, match="no subscription"):
            here.unsubscribe(number)


def test_local_topics_are_acked_at_once_and_delivered_here_only(two: Proxies, here: Node, there: Node) -> None:
    box, elsewhere, acks = Box(), Box(), Box()
    acked(there, "~/#", elsewhere)
    two[0].signal(STOP)
    try:
        ack = here.wait_ack(here.subscribe("~/a/+", box, acks), 1)
        here.publish("~/a/1", {"k": 1})
        message: Message = box.wait()[0]
    finally:
        two[0].signal(CONTINUE)
    assert ack.ok and ack.covered == () and acks.wait() == [ack]
    assert message.topic == "~/a/1" and message.payload == {"k": 1}
    acked(there, "after")
    assert not elsewhere.items


def test_a_header_of_the_fabrics_own_is_refused_and_any_other_arrives(here: Node, there: Node) -> None:
    box = Box()
    acked(here, "order/#", box)
    for name in sorted(RESERVED):
        for topic in ("order/7", "~/order/7"):
            with pytest.raises(LocalWireError, match=name):
                there.publish(topic, "placed", {name: True})
    assert there.publish("order/7", "placed", {"by": "page", "id": 1, "deadline_ns": 2, "reply_to": "x"}) == 1
    assert box.wait()[0].headers == {"by": "page", "id": 1, "deadline_ns": 2, "reply_to": "x"}


# --- callbacks


def test_a_callback_that_raises_harms_no_other(here: Node, there: Node, caplog: pytest.LogCaptureFixture) -> None:
    before, after = Box(), Box()

    def bad(message: Message) -> None:
        raise RuntimeError(f"deliberately, at {message.number}")

    acked(here, "raise/1", before)
    acked(here, "raise/1", bad)
    acked(here, "raise/#", after)
    for number in range(3):
        there.publish("raise/1", number)
    after.wait(3)
    assert before.payloads() == after.payloads() == [0, 1, 2]
    assert here.stats()["failed_callbacks"] == 3
    assert "deliberately" in caplog.text


def test_callbacks_of_other_kinds_may_raise_too(here: Node, caplog: pytest.LogCaptureFixture) -> None:
    def bad(*_: object) -> None:
        raise RuntimeError("deliberately")

    here.on_coverage(bad)
    until(lambda: here.stats()["covered"] == ["p1", "p2"], "coverage is told")
    told = here.stats()["failed_callbacks"]
    here.wait_ack(here.subscribe("raising/ack", print, bad), 10)
    box = Box()
    acked(here, "~/raise", bad)
    acked(here, "~/raise", box)
    here.publish("~/raise", 1)
    box.wait()
    here.on_state(bad)
    here.close()
    assert here.stats()["failed_callbacks"] == told + 3


def test_unsubscribe_in_a_callback_ends_the_calls_at_once(here: Node, there: Node) -> None:
    heard, end = [], Box()
    idents: list[int] = []

    def once(message: Message) -> None:
        heard.append(message.payload)
        here.unsubscribe(idents[0])

    idents.append(acked(here, "once/#", once))
    acked(here, "once/#", end)
    for number in range(1000):
        there.publish("once/x", number)
    end.wait(1000)
    assert heard == [0]


def test_many_messages_are_published_in_one_call_and_numbered_as_one_by_one(here: Node, there: Node) -> None:
    box = Box()
    acked(there, "many/#", box)
    local = Box()
    acked(here, "~/many", local)
    assert here.publish("many/0", "first") == 1
    messages = [(f"many/{number % 3}", {"n": number}) for number in range(1_000)]
    assert here.publish_many([*messages, ("~/many", "here only")]) == 1_001
    until(lambda: len(box) == 1_001 and len(local) == 1, "all have come")
    assert [message.payload for message in box.items[1:]] == [payload for _, payload in messages]
    assert here.publish("many/0", "last") == 336, "one before, 334 of the many"
    assert here.publish_many(()) == 0


def test_of_many_messages_those_before_one_that_is_refused_are_accepted(here: Node, there: Node) -> None:
    box = Box()
    acked(there, "refused", box)
    wrong: list[tuple[Any, ...]] = [("a/+", 1), ("$sys/x", 1), ("refused", object())]
    for count, each in enumerate(wrong, 1):
        with pytest.raises(FabricError) as raised:
            here.publish_many([("refused", 1), ("refused", 2), each, ("refused", 3)])
        assert raised.value.accepted == 2
        until(lambda count=count: len(box) == 2 * count, "the two before it have come")  # type: ignore[misc]


def test_a_callback_may_subscribe_and_publish(here: Node, there: Node) -> None:
    replies, acks = Box(), Box()

    def ask(message: Message) -> None:
        here.subscribe("reply/#", replies, acks)
        here.publish("asked", message.payload)

    acked(there, "asked", lambda message: there.publish("reply/1", message.payload))
    acked(here, "question", ask)
    there.publish("question", 42)
    acks.wait()
    there.publish("question", 43)
    replies.wait_for(lambda messages: messages[-1].payload == 43, "the reply to the second question")
    assert acks.wait(2)[0].ok


def test_local_messages_that_answer_each_other_for_ever_hold_up_nothing_else(here: Node, there: Node) -> None:
    box, rallies = Box(), 0

    def answer(message: Message) -> None:
        nonlocal rallies
        rallies += 1
        here.publish("~/pong" if message.topic == "~/ping" else "~/ping", None)

    for topic in ("~/ping", "~/pong"):
        acked(here, topic, answer)
    here.publish("~/ping", None)
    acked(here, "meanwhile", box)
    there.publish("meanwhile", 1)
    box.wait()
    assert rallies > 100 and here.close() == 0


def test_wait_ack_and_close_in_a_callback_are_state_errors(here: Node) -> None:
    box = Box()
    ident = acked(here, "inside")

    def inside(message: Message) -> None:
        for forbidden in (lambda: here.wait_ack(ident, 1), here.close):
            try:
                forbidden()
            except StateError as error:
                box(str(error))

    acked(here, "go", inside)
    here.publish("go", 1)
    waiting, closing = box.wait(2)
    assert "ack_fun" in waiting and "another thread" in closing
    assert here.publish("go", 2) == 2, "the node is still open"


def test_a_callback_that_is_slow_delays_its_node_only(here: Node, there: Node) -> None:
    go, slow, quick = threading.Event(), Box(), Box()

    def wait(message: Message) -> None:
        go.wait(10)
        slow(message)

    acked(here, "slow", wait)
    acked(there, "slow", quick)
    there.publish("slow", 1)
    quick.wait()
    assert not slow.items
    go.set()
    slow.wait()


# --- scopes


@pytest.mark.parametrize("topic", ["$fabric/proxy/x", "$ack/x/m", "$", "$x/y"])
def test_the_fabrics_own_topics_are_not_published_to(here: Node, topic: str) -> None:
    with pytest.raises(ScopeError, match="belong to the fabric"):
        here.publish(topic, 1)


def test_scopes_that_do_not_exist_are_refused(here: Node) -> None:
    with pytest.raises(ScopeError, match="invalid scope"):
        here.publish("~other/x", 1)
    with pytest.raises(ScopeError, match="invalid scope"):
        here.subscribe("~other/x", print)


@pytest.mark.parametrize("rest", ["+/s/x", "#", "+/+/x", "", "/s/x", "h", "h/+/x", "h/#", "h//x"])
def test_a_page_session_is_heard_by_name_only(here: Node, rest: str) -> None:
    with pytest.raises(ScopeError, match="both named, to hear one page only"):
        here.subscribe(f"~pagesession/{rest}", print)


def test_the_host_of_pages_hears_all_of_its_own(here: Node, there: Node) -> None:
    box, one = Box(), Box()
    acked(here, f"~pagesession/{here.home}/#", box)
    acked(here, f"~pagesession/{here.home}/+/chat/trigger", box)
    acked(there, f"~pagesession/{here.home}/s1/#", one)
    there.publish(f"~pagesession/{here.home}/s1/chat/trigger", 1)
    assert [m.payload for m in box.wait(2)] == [1, 1] and one.wait()[0].payload == 1


# --- what is refused


def test_bad_filters_and_topics_are_refused_and_change_nothing(here: Node) -> None:
    before = here.stats()
    with pytest.raises(InvalidFilter):
        here.subscribe("a/#/b", print)
    for topic in ("a/+", "", "a\0b", "#"):
        with pytest.raises(InvalidTopic):
            here.publish(topic, 1)
    after = here.stats()
    assert all(before[key] == after[key] for key in ("subscriptions", "interest", "published"))


def test_what_cannot_be_held_for_another_is_refused(here: Node) -> None:
    for topic, sent_ns, error in (("~/a", 1, ScopeError), ("$a", 1, ScopeError), ("a", -1, ValueError)):
        with pytest.raises(error):
            here.hold(topic, "x", sent_ns=sent_ns)
    with pytest.raises(ValueError, match="as_published"):
        here.subscribe("a", print, as_published=True)
    assert here.stats()["held"] == 0


def test_what_is_held_goes_with_what_is_newer_and_with_everything(here: Node) -> None:
    assert here.hold("held/1", "x", sent_ns=5) and here.hold("held/2", "x", sent_ns=5)
    for before_ns, left in ((0, 2), (5, 2), (6, 1)):
        here.let_go("held/1", before_ns=before_ns)
        assert here.stats()["held"] == left
    here.let_go()
    assert here.stats()["held"] == 0


def test_a_payload_that_cannot_be_sent_takes_no_number(here: Node) -> None:
    for payload in (object(), {1: 2}, 2**64, {"a": {"b": set()}}):
        with pytest.raises(LocalWireError):
            here.publish("payload", payload)
    assert here.publish("payload", 1) == 1


def test_payloads_beyond_the_limit_are_refused_here_and_by_the_receiver(two: Proxies) -> None:
    with (
        Node(two[0].base, max_payload_bytes=1_000) as small,
        Node(two[1].base) as large,
    ):
        box = Box()
        acked(small, "size", box)
        with pytest.raises(LocalWireError):
            small.publish("size", b"x" * 2_000)
        large.publish("size", b"x" * 2_000)
        large.publish("size", b"fits")
        assert box.wait()[0].payload == b"fits"
        assert small.stats()["refused"] == {"too_large": 1}


@pytest.mark.parametrize("connect", ["", "tcp://", "127.0.0.1:5570", "tcp://h:70000", []])
def test_an_address_that_is_none_is_an_error_at_once(connect: Any) -> None:
    with pytest.raises(ValueError, match=r"invalid (address|addresses|port) "):
        Node(connect)


@pytest.mark.parametrize("name", ["a/b", "$x", "a" * 101, "a+"])
def test_a_name_must_be_one_level(two: Proxies, name: str) -> None:
    with pytest.raises(ValueError, match="invalid name"):
        Node(two[0].base, name=name)


# --- life


def test_not_connected_after_the_time_out() -> None:
    start = time.monotonic()
    with pytest.raises(NotConnected, match=r"no proxy answered at tcp://.* within 0\.3 s"):
        Node([free_base(), free_base()], connect_timeout_s=0.3)
    assert time.monotonic() - start < 3


def test_states_are_told_in_order(two: Proxies) -> None:
    states = Box()
    node = Node(two[0].base)
    node.on_state(states)
    assert node.state == NodeState("connected", two[0].base)
    node.close()
    assert [state.state for state in states.items] == ["closed"] and node.state.state == "closed"


def test_after_close_every_call_is_a_state_error(two: Proxies) -> None:
    with Node(two[0].base) as node:
        ident = acked(node, "a")
        node.publish("a", 1)
    for call in (
        lambda: node.publish("a", 1),
        lambda: node.publish("new", 1),
        lambda: node.publish("~/local", 1),
        lambda: node.subscribe("a", print),
        lambda: node.unsubscribe(ident),
        lambda: node.wait_ack(ident, 1),
    ):
        with pytest.raises(StateError, match="closed"):
            call()
    assert node.close() == 0 and node.stats()["state"] == "closed"


def test_who_waits_for_an_ack_is_told_when_the_node_is_closed(two: Proxies) -> None:
    node, acks = Node(two[0].base), Box()
    two[0].signal(STOP)
    try:
        node.subscribe("never", print, acks)
        node.close(0)
    finally:
        two[0].signal(CONTINUE)
    assert not acks.items[0].ok and "closed" in acks.items[0].error and len(acks) == 1


def test_close_returns_when_everything_has_reached_the_ingress(two: Proxies, here: Node) -> None:
    box = Box()
    acked(here, "burst", box)
    with Node(two[1].base) as node:
        for number in range(20_000):
            node.publish("burst", number)
        assert node.close() == 0 and node.stats()["unconfirmed"] == 0
    assert [message.payload for message in box.wait(20_000)] == list(range(20_000))


def test_close_tells_what_is_not_confirmed(two: Proxies, caplog: pytest.LogCaptureFixture) -> None:
    node = Node(two[0].base)
    two[0].signal(STOP)
    try:
        for number in range(5):
            node.publish("unconfirmed", number)
        assert node.close(0.2) >= 5
    finally:
        two[0].signal(CONTINUE)
    assert "not known to have reached a proxy" in caplog.text


INTERRUPTED = """
import faulthandler, gc, signal, sys, time
from fabric import Node
from fabric.errors import StateError
faulthandler.dump_traceback_later(75, exit=True)
with Node(sys.argv[1]) as node, Node(sys.argv[1]) as other:
    got = []
    other.wait_ack(other.subscribe("#", lambda m: got.append((m.topic, m.payload))), 10)
    sent = {"state": 0, "gone": 0}
    def handler(*_):
        node.publish("state", sent["state"], {"by": "signal"})
        sent["state"] += 1
        try:
            node.subscribe("x", print)
        except StateError:
            pass
    signal.signal(signal.SIGALRM, handler)
    class Cycle:
        def __init__(self): self.me = self
        def __del__(self):
            node.publish("gone", {"n": [sent["gone"]]})
            sent["gone"] += 1
    gc.set_threshold(50)
    work = 0
    for i in range(60):
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            Cycle()
            node.publish("work", {"n": [work]}, {"by": "main"})
            work += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert sent["state"] >= 50 and sent["gone"] > 100, sent
    end = time.monotonic() + 20
    total = sum(sent.values()) + work
    while len(got) < total and time.monotonic() < end:
        time.sleep(0.01)
    for topic in ("state", "gone", "work"):
        values = [p["n"][0] if isinstance(p, dict) else p for t, p in got if t == topic]
        assert sorted(values) == list(range(work if topic == "work" else sent[topic])), (topic, len(values))
    assert [p for t, p in got if t == "state"] == list(range(sent["state"])), "in their order"
    gc.set_threshold(700)
"""


def test_publishing_in_signal_handlers_and_destructors_neither_hangs_nor_loses(two: Proxies) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, two[0].base],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_full_queue_is_an_error_that_takes_no_number(two: Proxies, there: Node) -> None:
    box, gaps = Box(), Box()
    acked(there, "full", box)
    there.on_gap(gaps)
    with Node(two[0].base, hwm_msgs=10, send_timeout_s=0.3) as node:
        node.publish("full", b"first")
        box.wait(1)
        two[0].signal(STOP)
        try:
            accepted = 1
            with pytest.raises(HighWaterMarkReached, match="was not accepted"):
                while True:
                    node.publish("full", b"x" * 1_000_000)
                    accepted += 1
        finally:
            two[0].signal(CONTINUE)
        assert node.publish("full", b"last") == accepted + 1
        messages = box.wait(accepted + 1)
    assert [message.number for message in messages] == list(range(1, accepted + 2))
    assert messages[-1].payload == b"last" and not gaps.items


FORKED = """
import os, sys, threading
from fabric import Node
from fabric.errors import StateError

node = Node(sys.argv[1])
heard = threading.Event()
node.wait_ack(node.subscribe("fork", lambda message: heard.set()), 10)
node.publish("fork", 0)
child = os.fork()
if child == 0:
    failed = []
    for call in (
        lambda: node.publish("fork", 1), lambda: node.publish("new", 1), lambda: node.publish("~/l", 1),
        lambda: node.subscribe("a", print), lambda: node.unsubscribe(1), lambda: node.wait_ack(1, 1),
    ):
        try:
            call()
        except StateError as error:
            failed.append("fork" in str(error))
    node.close()
    os._exit(0 if failed == [True] * 6 else 1)
assert os.waitpid(child, 0)[1] == 0, "in the child"
heard.clear()
node.publish("fork", 1)
assert heard.wait(10), "in the parent"
assert node.close() == 0
"""


def test_after_fork_the_parent_goes_on_and_the_child_is_refused(two: Proxies) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, two[0].base],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_node_that_nobody_closed_does_not_hold_up_the_end_of_its_process(two: Proxies) -> None:
    code = "import sys; from fabric import Node; node = Node(sys.argv[1]); node.publish('a', 1)"
    done = subprocess.run(
        [sys.executable, "-c", code, two[0].base],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr


# --- a proxy that goes


def test_no_proxy_means_not_connected_and_publishing_goes_on_when_it_is_back(
    proxies: Callable[..., Proxies], started: list[Process]
) -> None:
    (proxy,) = proxies(1)
    states, box = Box(), Box()
    with Node(proxy.base, send_timeout_s=0.3) as node:
        node.on_state(states)
        acked(node, "a", box)
        proxy.kill()
        states.wait_for(lambda items: True, "the loss")
        with pytest.raises(NotConnected, match="was not accepted"):
            node.publish("a", 1)
        again = proxy.again()
        started.append(again)
        states.wait_for(lambda items: items[-1].state == "connected", "the return")
        until(lambda: node.stats()["covered"] == ["p1"], "the subscriptions are acked anew")
        assert node.publish("a", 2) == 1, "what was not accepted took no number"
        assert box.wait()[0].payload == 2


def test_addresses_at_which_nothing_listens_cost_no_time(two: Proxies) -> None:
    dead = [f"tcp://127.0.0.{number}:1" for number in range(1, 30)]
    since = time.monotonic()
    with Node([*dead, "tcp://nobody.invalid:1", two[0].base], connect_timeout_s=20) as node:
        box = Box()
        acked(node, "a", box)
        node.publish("a", 1)
        assert box.wait()
    assert time.monotonic() - since < 10, "1.5 s for each would be 45"


@pytest.mark.parametrize("dead", [[("::1", 6)], [("127.0.0.9", 4), ("127.0.0.8", 4)]])
def test_each_address_of_a_name_is_tried(two: Proxies, monkeypatch: pytest.MonkeyPatch, dead: Any) -> None:
    families = {4: socket.AF_INET, 6: socket.AF_INET6}
    known = [*dead, ("127.0.0.1", 4)]

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        assert host == "mesh.example"
        return [(families[family], socket.SOCK_STREAM, 6, "", (address, 0)) for address, family in known]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    base = f"tcp://mesh.example:{two[0].base.rpartition(':')[2]}"
    with Node(base, connect_timeout_s=20) as node:
        assert node.state.base == two[0].base and node.publish("a", 1) == 1
    monkeypatch.undo()


def test_when_nobody_answers_each_address_is_named_with_the_reason() -> None:
    base = free_base()
    with pytest.raises(NotConnected) as error:
        Node([base, "tcp://nobody.invalid:5570"], connect_timeout_s=0.2)
    assert f"{base}: refused: nothing listens there; tcp://nobody.invalid:5570: no such host" in str(error.value)


def test_the_second_address_is_taken_when_nobody_is_at_the_first(two: Proxies) -> None:
    with Node([free_base(), two[1].base], connect_timeout_s=20) as node:
        assert node.state == NodeState("connected", two[1].base)
        assert node.wait_ack(node.subscribe("a", print), 10).covered == ("p1", "p2")


def test_a_drain_moves_publishers_and_subscribers_and_loses_nothing(tmp_path: Path) -> None:
    """Nothing lost, nothing twice, in order; the old proxy ends by itself, with 0."""
    box, far, states, gaps = Box(), Box(), Box(), Box()
    with (
        mesh(tmp_path, 3) as (first, second, other),
        Node([first.base, second.base], name="mover") as mover,
        Node([first.base, second.base], name="publisher") as publisher,
        Node(other.base, name="far") as stays,
    ):
        mover.on_state(states)
        mover.on_gap(gaps)
        stays.on_gap(gaps)
        acked(mover, "drain/#", box)
        acked(stays, "drain/#", far)
        enough = threading.Event()
        counts = {}

        def publish(node: Node) -> None:
            sent = 0
            while not enough.wait(0.0005):
                sent = node.publish(f"drain/{node.name}", sent + 1)
            counts[node.name] = sent

        threads = [threading.Thread(target=publish, args=(node,)) for node in (publisher, stays)]
        for thread in threads:
            thread.start()
        far.wait(500)
        first.signal(15)
        assert first.wait() == 0
        states.wait_for(lambda items: items[-1] == NodeState("connected", second.base), "the move")
        until(lambda: publisher.state == NodeState("connected", second.base), "the publisher has moved too")
        seen = len(box)
        box.wait(seen + 500)
        enough.set()
        for thread in threads:
            thread.join()
        total = sum(counts.values())
        for received in (box, far):
            received.wait(total)
            for name, count in counts.items():
                numbers = [message.number for message in received.items if message.topic == f"drain/{name}"]
                assert numbers == list(range(1, count + 1))
        assert not gaps.items
        assert [state.state for state in states.items][:1] == ["moving"]
        until(lambda: mover.stats()["covered"] == ["p2", "p3"], "coverage at the new proxy")
        assert mover.stats()["moves"] == publisher.stats()["moves"] == 1


def test_what_is_read_while_letting_go_of_a_proxy_does_not_prove_the_next(
    proxies: Callable[..., list[ProxyProcess]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watermark of the connection before waits unread, behind a slow handler. Taken for a proof of the next one,
    it let the node say `connected` with its gate shut for ever."""
    first, second = proxies(2)
    with Node([first.base, second.base], name="slow") as node:
        states = Box()
        node.on_state(states)
        read_out, came = node._engine._read_out, Box()
        watermark = node._engine.up._encoder.part(b"", 1, 0, [node._engine.up._serial, 0])

        def read_out_late() -> None:
            read_out()
            node._engine._on_private(node._engine.commands._part[:-2] + b"w", watermark)
            came(watermark)

        monkeypatch.setattr(node._engine, "_read_out", read_out_late)
        first.kill()
        states.wait_for(lambda items: items[-1] == NodeState("connected", second.base), "it is at the second")
        assert came.items and node.publish("a", 1, timeout_s=5) == 1

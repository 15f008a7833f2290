"""Proxy: its life, its events, what it announces, who gets what. Most here run in this process: the same code, quicker.

Whole meshes of real processes are in tests/e2e.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fabric import Node, Proxy
from fabric.core.steering import END
from fabric.endpoints import Endpoints
from fabric.errors import NotConnected, TransportError
from fabric.protocol.markers import PROTOCOL
from fabric.wire import Encoder, decode
from tests.faults.zmtp import RawPeer
from tests.support.processes import FabricProcess, Process, ProxyProcess, free_base
from tests.support.waiting import PATIENCE_S, Box, until

Start = Callable[..., tuple[Proxy, Box]]


@pytest.fixture
def start() -> Iterator[Start]:
    """start(…) a proxy in this process, a member when this returns; with the events that it tells."""
    found: list[Proxy] = []

    def make(listen: str = "", *, wait: bool = True, **options: Any) -> tuple[Proxy, Box]:
        events = Box()
        proxy = Proxy(listen or free_base(), **{"settle_s": 0.05, "on_event": events, **options})
        found.append(proxy)
        proxy.start()
        if wait:
            assert proxy.wait_ready(PATIENCE_S), events.items
        return proxy, events

    yield make
    for proxy in reversed(found):
        proxy.close()


def kinds(events: Box) -> list[str]:
    return [event["event"] for event in list(events.items)]


def announced(node: Node, name: str) -> Box:
    """What the proxy `name` says of itself, from now on."""
    box = Box()
    node.wait_ack(node.subscribe(f"$fabric/proxy/{name}", lambda message: box(message.payload)), 10)
    return box


# --- what it is given


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"listen": "nonsense"}, "invalid address 'nonsense': expected tcp://HOST:PORT"),
        ({"listen": "tcp://127.0.0.1:65535"}, "invalid port 65535: expected 1 to 65530"),
        ({"listen": "tcp://0.0.0.0:5570"}, "expected a real host: give `advertise`"),
        ({"listen": "tcp://127.0.0.1:5570", "advertise": "tcp://*:5570"}, "expected a real host: give `advertise`"),
        ({"listen": "tcp://127.0.0.1:5570", "name": "a/b"}, "invalid name 'a/b': expected 1 to 100 characters"),
        ({"listen": "tcp://127.0.0.1:5570", "join": ["p1"]}, "invalid address 'p1'"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Proxy(**options)


@pytest.mark.parametrize("port", ["ingress", "out", "link", "guest"])
def test_an_address_in_use_is_told_at_once_and_nothing_is_left(port: str) -> None:
    base = free_base()
    with zmq.Context() as context, context.socket(zmq.PULL) as other:
        other.bind(getattr(Endpoints.parse(base), port))
        with pytest.raises(TransportError, match=r"cannot listen at .*: the address is in use"):
            Proxy(base)
    Proxy(base).close()


def test_one_that_was_never_started_leaves_nothing_when_closed() -> None:
    base = free_base()
    for _ in range(2):
        Proxy(base).close()


def can_bind(socket: zmq.Socket[bytes], endpoint: str) -> bool:
    with contextlib.suppress(zmq.ZMQError):
        socket.bind(endpoint)
        return True
    return False


def test_an_address_that_is_taken_before_it_is_a_member_ends_it(start: Start) -> None:
    """`in` is bound only then; it was free when the proxy was made. What it was tried with closes a moment later."""
    proxy, events = start(settle_s=2.0, wait=False)
    with zmq.Context() as context, context.socket(zmq.PULL) as other:
        until(lambda: can_bind(other, proxy.endpoints.ingress), "it is free")
        events.wait_for(lambda items: items[-1]["event"] == "failed", "its end")
    assert kinds(events) == ["failed"] and not proxy.wait_ready(0)
    assert events.items[0]["error"].startswith(f"cannot listen at {proxy.endpoints.ingress}: ")


def test_a_process_that_cannot_listen_says_why_and_fails(start: Start, fabric: Callable[..., FabricProcess]) -> None:
    proxy, _ = start()
    second = fabric("proxy", "--listen", proxy.endpoints.base, "--name", "other")
    assert second.wait() != 0 and not second.stdout
    assert any("the address is in use" in line for line in second.stderr), second.said()


# --- life


def test_it_is_ready_says_so_and_ends(start: Start) -> None:
    proxy, events = start(name="only")
    assert proxy.ready_line() == {
        "event": "ready",
        "name": "only",
        "listen": proxy.endpoints.base,
        "protocol": list(PROTOCOL),
        "peers": [],
    }
    assert kinds(events) == ["ready"]
    proxy.close()
    proxy.close()
    assert not proxy.wait_ready(0)


def test_nobody_is_let_in_before_it_is_a_member(start: Start) -> None:
    proxy, events = start(join=[free_base()], wait=False)
    with pytest.raises(NotConnected):
        Node(proxy.endpoints.base, connect_timeout_s=0.3)
    assert not proxy.wait_ready(0) and not events.items


def test_a_handler_of_events_that_raises_does_not_end_it(caplog: pytest.LogCaptureFixture, start: Start) -> None:
    def bad(event: dict[str, Any]) -> None:
        raise RuntimeError("deliberately")

    proxy, _ = start(on_event=bad)
    with Node(proxy.endpoints.base) as node:
        assert node.wait_ack(node.subscribe("a", print), 10).ok
    assert "deliberately" in caplog.text


def test_peers_that_come_and_go_are_events(start: Start) -> None:
    first, events = start(name="first")
    second, others = start(name="second", join=[first.endpoints.base])
    events.wait_for(lambda items: kinds(events) == ["ready", "peer_joined", "link_up"], "the link")
    assert events.items[2]["id"] == "second" and events.items[2]["base"] == second.endpoints.base
    assert kinds(others) == ["peer_joined", "link_up", "ready"]
    assert second.ready_line()["peers"] == ["first"]
    second.close()
    events.wait_for(lambda items: kinds(events)[-1] == "peer_left", "its leaving")
    assert "peer_dead" not in kinds(events)


def test_drained_with_no_nodes_it_ends_at_once(start: Start) -> None:
    proxy, events = start(drain_s=60)
    proxy.drain()
    until(lambda: not proxy.wait_ready(0), "it has ended")
    assert kinds(events) == ["ready", "draining"]


def test_drained_it_waits_for_its_nodes_no_longer_than_it_was_told(start: Start) -> None:
    proxy, _ = start(drain_s=0.3)
    with Node(proxy.endpoints.base):
        begin = time.monotonic()
        proxy.drain()
        until(lambda: not proxy.wait_ready(0), "it has ended")
        assert 0.3 <= time.monotonic() - begin < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_drains_on_a_signal_and_ends_with_0(
    proxies: Callable[..., list[ProxyProcess]], number: signal.Signals
) -> None:
    (proxy,) = proxies(1)
    assert json.loads(proxy.stdout[0])["event"] == "ready"
    proxy.signal(number)
    assert proxy.wait() == 0
    assert any("draining" in line for line in proxy.stderr)


def several(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have `mesh.example` stand for these, in this process."""
    found = [(socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, 0)) for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: found if host == "mesh.example" else [])


@pytest.mark.parametrize("dead", ["::1", "127.0.0.9"])
def test_a_name_to_join_is_asked_at_each_of_its_addresses(
    start: Start, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    first, _ = start()
    several(monkeypatch, dead, "127.0.0.1")
    second, _ = start(join=[f"tcp://mesh.example:{first.endpoints.base.rpartition(':')[2]}"])
    assert second.ready_line()["peers"] == [first.name]


def test_behind_a_name_of_several_a_proxy_does_not_take_itself_for_the_mesh(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = free_base()
    several(monkeypatch, "127.0.0.9", "127.0.0.1")
    proxy, events = start(base, join=[f"tcp://mesh.example:{base.rpartition(':')[2]}"], wait=False)
    assert not proxy.wait_ready(2.0), "nobody else is there, and it was not told to be the first"
    several(monkeypatch, "127.0.0.1")
    assert proxy.wait_ready(PATIENCE_S), events.items


@pytest.mark.parametrize("silent", [False, True], ids=["ended", "silent"])
def test_without_its_switch_it_ends_and_says_why(silent: bool, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that carries nothing must not pretend: another process may take its place."""
    proxy, events = start()
    if silent:
        monkeypatch.setattr("fabric.proxy.proxy.SILENCE_S", 0.5)
        monkeypatch.setattr(proxy._plumbing, "echo", lambda word: None)
        why = "the own switch did not answer for 0.5 s"
    else:
        proxy._plumbing._command(END)
        why = "the switch ended unasked"
    until(lambda: not proxy.wait_ready(0), "it has ended")
    events.wait_for(lambda items: items[-1] == {"event": "failed", "error": why}, "why")


# --- the streams


def test_one_copy_for_each_subscriber_and_one_hop_between_proxies(start: Start) -> None:
    """Two subscribers at each of three proxies: each message comes once to each, wherever it was published."""
    found = [start(name="p1")[0]]
    found += [start(name=f"p{at}", join=[found[0].endpoints.base])[0] for at in (2, 3)]
    nodes = [Node(proxy.endpoints.base) for proxy in found * 2]
    try:
        boxes = [Box() for _ in nodes]
        for node, box in zip(nodes, boxes, strict=True):
            assert node.wait_ack(node.subscribe("a/#", box), 10).covered == ("p1", "p2", "p3")
        for at, node in enumerate(nodes):
            for number in range(100):
                node.publish(f"a/{at}", number)
        for box in boxes:
            box.wait(600)
        for node, box in zip(nodes, boxes, strict=True):
            assert len(box) == 600 and node.stats()["duplicates"] == 0
    finally:
        for node in nodes:
            node.close()


def test_joined_by_another_name_of_its_address_it_is_linked_once(start: Start) -> None:
    first, events = start(name="first")
    alias = first.endpoints.base.replace("127.0.0.1", "localhost")
    second, _ = start(name="second", join=[alias, first.endpoints.base])
    with Node(first.endpoints.base) as there, Node(second.endpoints.base) as here:
        box = Box()
        assert here.wait_ack(here.subscribe("a", box), 10).covered == ("first", "second")
        for number in range(50):
            there.publish("a", number)
        box.wait(50)
        assert here.stats()["duplicates"] == 0 and kinds(events).count("peer_joined") == 1


def test_asked_to_join_itself_alone_it_is_refused() -> None:
    base, public = free_base(), free_base()
    for join in ([base], [public], [base, public]):
        with pytest.raises(ValueError, match=f"{join[0]} is this proxy itself: expected the address of another one"):
            Proxy(base, advertise=public, join=join)


def test_asked_to_join_itself_and_start_alone_it_does(start: Start) -> None:
    base = free_base()
    proxy, events = start(base, join=[base], name="self", first=True)
    with Node(base) as node:
        assert node.wait_ack(node.subscribe("a", print), 10).covered == ("self",)
    assert proxy.ready_line()["peers"] == [] and kinds(events) == ["ready"]


def test_it_tells_at_which_addresses_nobody_answers(start: Start) -> None:
    nobody = free_base()
    first, _ = start(name="first")
    proxy, _ = start(join=[nobody, first.endpoints.base], first=True)
    until(lambda: proxy.stats().get("unanswered") == [nobody], "one address is named")


def test_listening_everywhere_it_is_found_where_it_says(start: Start) -> None:
    port = free_base().rpartition(":")[2]
    first, _ = start(f"tcp://0.0.0.0:{port}", advertise=f"tcp://127.0.0.1:{port}", name="wide")
    second, _ = start(join=[f"tcp://127.0.0.1:{port}"], name="second")
    assert second.ready_line()["peers"] == ["wide"] and first.ready_line()["listen"].startswith("tcp://0.0.0.0")


def test_guests_of_any_language_hear_all_proxies_with_a_plain_sub_socket(start: Start) -> None:
    first, _ = start(name="first")
    second, _ = start(name="second", join=[first.endpoints.base])
    with (
        Node(first.endpoints.base) as here,
        Node(second.endpoints.base) as there,
        zmq.Context() as context,
        context.socket(zmq.SUB) as guest,
    ):
        guest.connect(Endpoints.parse(first.endpoints.base).guest)
        guest.subscribe(b"a/")
        heard: set[str] = set()

        def both() -> bool:
            here.publish("a/here", 1)
            there.publish("a/there", 1)
            while guest.poll(20):
                heard.add(decode(guest.recv()).topic)
            return heard == {"a/here", "a/there"}

        until(both, "the guest hears both")


def test_what_guests_do_harms_guests_only(start: Start) -> None:
    """A cancel of what another holds, at `guest`: the nodes of the proxy go on hearing it."""
    proxy, _ = start()
    with Node(proxy.endpoints.base) as node, zmq.Context() as context, context.socket(zmq.XSUB) as guest:
        box = Box()
        node.wait_ack(node.subscribe("a", box), 10)
        guest.connect(Endpoints.parse(proxy.endpoints.base).guest)
        for _ in range(3):
            guest.send(b"\x01a\0")
            guest.send(b"\x00a\0")
        guest.send(b"\x01probe\0")

        def cancelled() -> bool:
            node.publish("probe", 1)
            return bool(guest.poll(20))

        until(cancelled, "what the guest sent before has gone through")
        node.publish("a", 1)
        assert box.wait()[0].payload == 1


def test_what_one_guest_cancels_another_and_the_nodes_still_get_from_afar(start: Start) -> None:
    first, _ = start(name="first")
    second, _ = start(name="second", join=[first.endpoints.base])
    with (
        Node(first.endpoints.base) as here,
        Node(second.endpoints.base) as there,
        zmq.Context() as context,
        context.socket(zmq.SUB) as guest,
    ):
        box = Box()
        assert here.wait_ack(here.subscribe("a", box), 10).ok
        guest.connect(Endpoints.parse(first.endpoints.base).guest)
        for _ in range(3):
            guest.subscribe(b"a\0")
            guest.unsubscribe(b"a\0")
        guest.subscribe(b"a\0")
        with RawPeer(Endpoints.parse(first.endpoints.base).guest, "XSUB") as stray:
            for _ in range(3):
                stray.send(b"\x00b\0")
            until(lambda: there.publish("a", 1) and guest.poll(20), "the guest hears the other proxy")
            count = len(box)
            there.publish("a", 2)
            box.wait_for(lambda items: len(items) > count and items[-1].payload == 2, "and so does the node")
        guest.unsubscribe(b"a\0")
        said = announced(here, "first")
        said.wait_for(lambda items: items[-1]["subscriptions"]["guest"] <= 0, "the guest holds nothing")
        there.publish("a", 3)
        box.wait_for(lambda items: items[-1].payload == 3, "the node holds what the guest has let go")


def test_over_ipc_it_is_the_same(start: Start, tmp_path: Path) -> None:
    first, _ = start(f"ipc://{tmp_path}/p1", name="p1")
    second, _ = start(f"ipc://{tmp_path}/p2", name="p2", join=[first.endpoints.base])
    with Node(first.endpoints.base) as here, Node(second.endpoints.base) as there:
        box = Box()
        assert here.wait_ack(here.subscribe("a", box), 10).covered == ("p1", "p2")
        there.publish("a", 1)
        box.wait()
        with pytest.raises(TransportError, match=r"cannot listen at .*\.in: another process does"):
            Proxy(first.endpoints.base)
        there.publish("a", 2)
        box.wait(2)


def test_an_ipc_address_of_a_killed_process_is_taken_over(started: list[Process], start: Start, tmp_path: Path) -> None:
    base = f"ipc://{tmp_path}/p"
    killed = ProxyProcess(base, [], tmp_path, name="p")
    started.append(killed)
    killed.wait_ready()
    killed.kill()
    assert Path(f"{tmp_path}/p.in").exists()
    proxy, _ = start(base, name="p")
    with Node(base) as node:
        assert node.wait_ack(node.subscribe("a", print), 10).ok
    assert proxy.ready_line()["name"] == "p"


# --- what it says of itself


def test_an_announcement_holds_figures_for_people(start: Start) -> None:
    first, _ = start(name="first")
    second, _ = start(name="second", join=[first.endpoints.base])
    with Node(first.endpoints.base) as here, Node(second.endpoints.base) as there:
        box = Box()
        here.wait_ack(here.subscribe("a", box), 10)
        said = announced(here, "first")
        for number in range(500):
            there.publish("a", number)
            here.publish("b", number)
        box.wait(500)

        def counted(items: list[dict[str, Any]]) -> bool:
            return all(items[-1]["counts"][leg] >= 500 for leg in ("in", "relay"))

        view = said.wait_for(counted, "the counts")[-1]
        assert (view["name"], view["state"], view["base"]) == ("first", "member", first.endpoints.base)
        assert view["protocol"] == list(PROTOCOL) and view["uptime_s"] > 0
        assert [(peer["id"], peer["linked"], peer["dead"]) for peer in view["peers"]] == [("second", True, False)]
        assert view["nodes"] == 1 and view["subscriptions"]["out"] >= 2 and view["subscriptions"]["link"] >= 2
        assert 0 < view["descriptors"]["used"] < view["descriptors"]["limit"]
        assert view["rates"].keys() == view["counts"].keys() == view["bytes"].keys() == {"in", "out", "relay", "guest"}
        assert view["bytes"]["in"] > 20 * view["counts"]["in"]


def test_its_figures_are_those_it_announced(start: Start) -> None:
    before = Proxy(free_base())
    assert before.stats().keys() == {"turned_s_ago", "echoed_s_ago"}
    before.close()
    proxy, _ = start(name="p")
    until(lambda: proxy.stats().get("state") == "member", "it has said that it is a member")
    assert proxy.stats()["id"] == "p" and 0 <= proxy.stats()["turned_s_ago"] < PATIENCE_S


def test_nodes_are_counted_as_they_come_and_go(start: Start) -> None:
    proxy, _ = start(name="p")
    with Node(proxy.endpoints.base) as node:
        said = announced(node, "p")
        others = [Node(proxy.endpoints.base) for _ in range(5)]
        said.wait_for(lambda items: items[-1]["nodes"] == 6, "six nodes")
        for other in others:
            other.close()
        said.wait_for(lambda items: items[-1]["nodes"] == 1, "one node")


def test_what_is_refused_is_counted_where_it_is_refused(start: Start) -> None:
    proxy, _ = start(name="p")
    endpoints = Endpoints.parse(proxy.endpoints.base)
    with (
        Node(endpoints.base) as node,
        zmq.Context() as context,
        context.socket(zmq.XSUB) as stray,
        context.socket(zmq.PUSH) as forger,
    ):
        said = announced(node, "p")
        stray.connect(endpoints.out)
        for _ in range(3):
            stray.send(b"\x07 no control part")
            stray.send(b"\x02 no msgpack")
        forger.connect(endpoints.ingress)
        encoder = Encoder(1)
        for payload in (None, {}, {"id": "x"}):
            forger.send(encoder.part(f"$ack/{proxy.ready_line()['name']}/m".encode() + b"\0", 1, 1, payload))
            forger.send(encoder.part(b"$fabric/proxy/forged\0", 1, 1, payload))
        said.wait_for(lambda items: items[-1]["refused"].get("not_control") == 3, "stray parts are counted")
        assert said.items[-1]["refused"]["bad_body"] == 3
        assert node.wait_ack(node.subscribe("a", print), 10).ok


def test_two_that_end_at_the_same_time_do_not_wait_for_each_other(start: Start) -> None:
    first, _ = start(name="first")
    second, _ = start(name="second", join=[first.endpoints.base])
    begin = time.monotonic()
    threads = [threading.Thread(target=proxy.close) for proxy in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begin < 8

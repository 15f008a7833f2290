"""What a peer without keys can do at the ports is bounded: each attack by itself, and all at once.

FABRIC_HOSTILE_S: how long all attacks go on together (8; the full figure is 600)
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node, Proxy
from fabric.node import contested
from fabric.node.coverage import Ack
from fabric.protocol import views
from fabric.protocol.views import Record
from fabric.proxy.membership import MAX_STRANGERS
from fabric.sockets import UPSTREAM_BYTES
from tests.faults.bystanders import Bystanders
from tests.faults.hostile import FORGED, Hostile, Victims, attacks, incarnations, phantoms
from tests.faults.memory import open_files, resident_bytes
from tests.faults.zmtp import PORTS, RawPeer, endpoint
from tests.support.processes import free_base
from tests.support.waiting import PATIENCE_S, Box, mesh, until

pytestmark = pytest.mark.plain_sockets

MIB = 1024 * 1024
HOSTILE_S = float(os.environ.get("FABRIC_HOSTILE_S", "8"))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(free_base(), settle_s=0.1) as found:
        assert found.wait_ready(PATIENCE_S)
        yield found


@pytest.fixture
def pair() -> Iterator[tuple[Proxy, Proxy]]:
    """p1 and p2, linked."""
    bases = free_base(), free_base()
    with Proxy(bases[0], name="p1", settle_s=0.1) as one:
        assert one.wait_ready(PATIENCE_S)
        with Proxy(bases[1], name="p2", join=bases[:1], settle_s=0.1) as other:
            assert other.wait_ready(PATIENCE_S)
            yield one, other


@contextlib.contextmanager
def repeated(pause_s: float, act: Callable[[], object]) -> Iterator[None]:
    """Do this again and again meanwhile, in a thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(pause_s):
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def acked(node: Node) -> Ack:
    """Return the ack of a subscription to what nobody held before."""
    ident = node.subscribe(f"ack/{time.monotonic_ns()}", lambda message: None)
    ack = node.wait_ack(ident, PATIENCE_S)
    node.unsubscribe(ident)
    assert ack.ok, ack
    return ack


def announced_by(base: str) -> dict[str, Any]:
    """What a proxy that runs as a process says of itself."""
    box = Box()
    with Node(base) as node:
        node.subscribe("$fabric/proxy/#", box)
        items = box.wait_for(lambda items: items[-1].payload.get("base") == base, "its announcement")
    found: dict[str, Any] = items[-1].payload
    return found


def refused_by(base: str) -> dict[str, int]:
    refused: dict[str, int] = announced_by(base)["refused"]
    return refused


def hear(node: Node, topic_filter: str) -> Box:
    box = Box()
    assert node.wait_ack(node.subscribe(topic_filter, box), PATIENCE_S).ok
    return box


def true_ones(box: Box) -> list[int]:
    return [message.number for message in list(box.items) if message.payload != FORGED]


# --- numbers


@pytest.mark.parametrize("number", [2**62, 2**32 + 10])
def test_one_part_with_a_high_number_silences_nobody(proxy: Proxy, number: int) -> None:
    with Node(proxy.endpoints.base) as node, Hostile(proxy.endpoints.base) as hostile:
        box = hear(node, "a")
        node.publish("a", 1)
        (message,) = box.wait(1)
        hostile.publish("a", message.publisher, number)
        until(lambda: node.stats()["refused"] == {"number": 1}, "it is refused")
        for payload in range(2, 100):
            node.publish("a", payload)
        assert [each.payload for each in box.wait(99)] == list(range(1, 100))


@pytest.mark.parametrize("forged", [range(2, 1_002), [2**32]])
def test_after_forged_numbers_the_true_publisher_is_heard_again(
    proxy: Proxy, forged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand in order, or one jump that might be true: dropped at first, and then no more."""
    monkeypatch.setattr(contested, "TRUE_AFTER_S", 1.0)
    with Node(proxy.endpoints.base) as node, Hostile(proxy.endpoints.base) as hostile:
        box, gaps = hear(node, "a"), Box()
        node.on_gap(gaps)
        node.publish("a", 1)
        (message,) = box.wait(1)
        for number in forged:
            hostile.publish("a", message.publisher, number)
        box.wait(1 + len(forged))
        sent = 1

        def heard_again() -> bool:
            nonlocal sent
            sent += 1
            node.publish("a", sent)
            return len(true_ones(box)) > 1

        until(heard_again, "the true ones are heard")
        first = true_ones(box)[1]
        node.publish("a", "last")
        box.wait_for(lambda items: items[-1].payload == "last", "what follows")
        assert true_ones(box)[1:] == list(range(first, sent + 2)), "all from then on"
        assert gaps.items[-1].last == first - 1 and node.stats()["refused"] == {"number": 1}


# --- proxies that do not exist, or did not start again


@pytest.mark.parametrize("port", ["out", "link"])
def test_a_third_proxy_joins_while_phantoms_do(port: str) -> None:
    """A thousand proxies say that they live, once and then 200 times a second, at both that are there."""
    bases = [free_base() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Proxy(bases[0], name="p1", settle_s=0.1))
        assert first.wait_ready(PATIENCE_S)
        second = stack.enter_context(Proxy(bases[1], name="p2", join=bases[:1], settle_s=0.1))
        assert second.wait_ready(PATIENCE_S)
        hostiles = [stack.enter_context(Hostile(base)) for base in bases[:2]]
        for hostile in hostiles:
            hostile.mark(port, *phantoms(1_000))

        def go_on() -> None:
            for hostile in hostiles:
                hostile.mark(port, *phantoms(2))

        with repeated(0.01, go_on):
            third = stack.enter_context(Proxy(bases[2], name="p3", join=bases[:2], settle_s=0.1))
            assert third.wait_ready(30)
            node = stack.enter_context(Node(bases[2]))
            until(lambda: set(acked(node).covered) >= {"p1", "p2", "p3"}, "all three are covered")
        for proxy in (first, second):
            refused = proxy.stats()["refused"]
            assert refused["sender" if port == "out" else "strangers"] >= 900
            assert len(proxy.stats()["peers"]) <= 2 + MAX_STRANGERS


def test_acks_stay_whole_while_a_peer_is_said_to_start_again(pair: tuple[Proxy, Proxy]) -> None:
    """82 new runs of a proxy that runs on, every second, at the other one. An ack that waits for a made-up run comes
    late, at the end of its time, and without that proxy."""
    one, other = pair
    with Node(one.endpoints.base) as node, Hostile(one.endpoints.base) as hostile:
        ghosts = incarnations(other._membership.record)
        assert set(acked(node).covered) == {"p1", "p2"}
        with repeated(1 / 82, lambda: hostile.mark("link", next(ghosts))):
            for _ in range(60):
                ack = acked(node)
                assert set(ack.covered) == {"p1", "p2"}, ack
                time.sleep(0.02)
        assert node.stats()["reconnects"] == 0


def test_a_word_does_not_end_a_proxy_that_starts() -> None:
    base = free_base()
    with contextlib.ExitStack() as stack:
        failed: list[dict[str, Any]] = []
        proxy = Proxy(base, name="p1", on_event=lambda event: failed.append(event) if "error" in event else None)
        stack.enter_context(proxy)
        hostile = stack.enter_context(Hostile(base))
        taken = Record("p1", "0" * 32, "tcp://127.0.0.1:9")
        while not proxy.wait_ready(0.02):
            hostile.mark("link", taken)
            assert not failed, failed


def test_a_name_that_is_taken_ends_a_proxy_that_starts() -> None:
    """By the word of a mesh it joins, and by that of a proxy it never heard of: it is asked at its address."""
    bases = [free_base() for _ in range(2)]
    with Proxy(bases[0], name="p1", settle_s=0.1) as first:
        assert first.wait_ready(PATIENCE_S)
        failed = Box()
        with Proxy(bases[1], name="p1", on_event=failed, settle_s=5.0), Hostile(bases[1]) as hostile:
            with repeated(0.02, lambda: hostile.mark("link", first._membership.record)):
                (event,) = failed.wait_for(lambda items: items[-1]["event"] == "failed", "it ends")[-1:]
            assert "the name 'p1' is taken" in event["error"]
        assert first.stats()["state"] == "member"


# --- memory


def test_long_filters_of_a_node_cost_proxies_little(tmp_path: Path) -> None:
    """What one browser could send: a hundred filters of 65 kB each. 2.2 GB once."""
    with mesh(tmp_path, 2) as proxies, Node(proxies[0].base) as node, Node(proxies[1].base) as other:
        acked(node)
        before = [resident_bytes(proxy.pid) for proxy in proxies]
        box, topics = Box(), [f"news/{number:02}{'x' * 64_990}" for number in range(100)]
        idents = [node.subscribe(topic, box) for topic in topics]
        assert node.wait_ack(idents[-1], PATIENCE_S).ok
        grown = [resident_bytes(proxy.pid) - was for proxy, was in zip(proxies, before, strict=True)]
        assert max(grown) < 30 * MIB, grown
        other.publish("news/nobody", 1)
        for topic in topics[::10]:
            other.publish(topic, topic[:7])
        assert [message.payload for message in box.wait(10)] == [topic[:7] for topic in topics[::10]], "acked: heard"


def test_prefixes_of_a_guest_cost_other_proxies_little(tmp_path: Path) -> None:
    """Ten megabytes by hand. At the proxy that it reaches libzmq keeps them all."""
    with mesh(tmp_path, 2) as (here, there), Node(there.base) as node, Hostile(here.base) as hostile:
        acked(node)
        before = resident_bytes(there.pid)
        hostile.send("guest", *(b"\1%04d" % number + os.urandom(8_000) for number in range(1_300)))
        acked(node)
        until(lambda: refused_by(here.base).get("guest_prefixes", 0) > 1_000, "they are counted")
        grown = resident_bytes(there.pid) - before
        assert grown < 120 * MIB, grown


def test_a_part_of_a_subscriber_that_no_node_sends_ends_its_connection(proxy: Proxy) -> None:
    for port in ("out", "link", "guest"):
        with RawPeer(endpoint(proxy.endpoints.base, port), PORTS[port]) as peer:
            peer.send(b"\1" + bytes(UPSTREAM_BYTES))
            peer.socket.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionResetError):
                assert peer.socket.recv(1) == b"", "closed by the other end"


def test_a_guest_that_reads_nothing_is_let_go(tmp_path: Path) -> None:
    """Its queue holds what passes until then, and at most 1,000 parts: of 4 MiB each it grew by 150 MB a second."""
    with mesh(tmp_path, 1) as (proxy,), Node(proxy.base) as node:

        def publish() -> None:
            for _ in range(50):
                node.publish("big", bytes(4 * MIB))
            until(lambda: node.stats()["unconfirmed"] == 0, "the proxy has taken all of it")

        def queued() -> int:
            """Bytes that the proxy holds beyond what it needs to pass these parts on."""
            return resident_bytes(proxy.pid) - before

        publish()
        before = resident_bytes(proxy.pid)
        with RawPeer(endpoint(proxy.base, "guest"), "SUB") as guest:
            guest.send(b"\1big")
            until(lambda: announced_by(proxy.base)["prefix_bytes"]["guest"] > 0, "it has subscribed")
            publish()
            assert queued() > 100 * MIB, "a guest's queue is seen in this way"
            until(lambda: queued() < 40 * MIB, "it is let go, and its queue with it")
            publish()
            assert queued() < 40 * MIB, "nothing is queued for it any more"


# --- descriptors


def test_guests_that_take_all_descriptors_are_cut_and_nodes_get_in(tmp_path: Path) -> None:
    """At the limit libzmq's thread spins, and nobody gets in for as long as they stay."""
    with mesh(tmp_path, 1) as (proxy,), contextlib.ExitStack() as guests:
        limit = 256
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (limit, limit))
        taken = 0
        with contextlib.suppress(OSError):  # it takes no more
            while taken < 2 * limit:
                peer = guests.enter_context(RawPeer(endpoint(proxy.base, "guest"), "SUB"))
                peer.socket.settimeout(1.0)
                taken += 1
        assert taken > limit / 2
        proxy.wait_stderr("descriptors short")
        proxy.wait_stderr("descriptors enough")
        assert open_files(proxy.pid) < limit * 7 / 8
        for _ in range(10):
            with Node(proxy.base) as node:
                acked(node)
        assert refused_by(proxy.base)["guests_cut"] > 20


# --- all at once


def test_all_attacks_at_once_cost_no_memory_and_harm_nobody(tmp_path: Path) -> None:
    """At both proxies of a mesh, for FABRIC_HOSTILE_S; what grows is measured from a quarter of that on."""
    with mesh(tmp_path, 2) as pair, contextlib.ExitStack() as stack:
        bystanders = Bystanders(stack, pair)
        bystanders.check_acks()
        topics = [
            (node.publisher, f"{root}/{n}") for node, root in zip(bystanders.nodes, "lk", strict=True) for n in (0, 5)
        ]
        victims = Victims(topics, [node.home for node in bystanders.nodes], [record_of(proxy.base) for proxy in pair])
        hostiles = [stack.enter_context(Hostile(proxy.base)) for proxy in pair]
        chance, blows = random.Random(7), Counter[str]()
        begun = time.monotonic()
        before: list[tuple[int, int]] = []
        slowest_s = 0.0
        while time.monotonic() < begun + HOSTILE_S:
            for attack in attacks(victims):
                attack(chance.choice(hostiles), chance)
                blows[attack.__name__] += 1
            for node in bystanders.nodes:
                ack = acked(node)
                slowest_s = max(slowest_s, ack.elapsed_s)
                assert set(ack.covered) == {"p1", "p2"}, ack
            if not before and time.monotonic() > begun + HOSTILE_S / 4:
                before = [(resident_bytes(proxy.pid), open_files(proxy.pid)) for proxy in pair]
        after = [(resident_bytes(proxy.pid), open_files(proxy.pid)) for proxy in pair]
        print(f"{sum(blows.values())} blows; slowest ack {slowest_s:.3f} s; (bytes, files) {before} then {after}")
        bystanders.check_acks()
        bystanders.settle()
        assert {"system", "sender", "strangers"} <= refused_by(pair[0].base).keys()
        assert slowest_s < 2.0 and min(blows.values()) > 3, (slowest_s, blows)
        for (memory, files), (memory_then, files_then) in zip(after, before, strict=True):
            assert memory - memory_then < 60 * MIB and abs(files - files_then) < 60
        assert all(node.stats()["reconnects"] == 0 for node in bystanders.nodes)


def record_of(base: str) -> Record:
    """Of a proxy that runs as a process."""
    found = views.record_from(announced_by(base))
    assert found is not None
    return found

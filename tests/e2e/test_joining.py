"""Joining, restarting and cut links: no acked subscriber misses what is published at a newcomer. Real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import CoverageEvent, Node, Proxy
from tests.support.processes import FABRIC, Process, ProxyProcess, free_base
from tests.support.waiting import Box, mesh, stop_all, until

Proxies = list[ProxyProcess]
STOP, CONTINUE = 19, 18


def publish_from_one(base: str, topic: str, count: int) -> None:
    """A publisher that is there before the newcomer is, and starts as soon as that one lets it in."""
    with Node(base, name="publisher", connect_timeout_s=30) as node:
        for number in range(1, count + 1):
            assert node.publish(topic, number) == number
        assert node.close() == 0


class Traffic:
    """Publishers and subscribers that work while the mesh changes: each subscriber must have every number."""

    def __init__(self, bases: list[str]) -> None:
        self.gaps, self.enough = Box(), threading.Event()
        self.nodes = [Node(base, name=f"n{at}") for at, base in enumerate(bases)]
        self.boxes = [Box() for _ in bases]
        self.sent = dict.fromkeys((node.name for node in self.nodes), 0)
        for node, box in zip(self.nodes, self.boxes, strict=True):
            node.on_gap(self.gaps)
            for topic_filter in ("load/#", "new/#"):
                assert node.wait_ack(node.subscribe(topic_filter, box), 10).ok
        self.threads = [threading.Thread(target=self._publish, args=(node,)) for node in self.nodes]
        for thread in self.threads:
            thread.start()

    def _publish(self, node: Node) -> None:
        while not self.enough.wait(0.001):
            self.sent[node.name] = node.publish(f"load/{node.name}", None)

    def check(self, newcomers: dict[str, int]) -> None:
        """Every subscriber has every number from 1 of every publisher; `newcomers` by topic."""
        self.enough.set()
        for thread in self.threads:
            thread.join()
        wanted = {**{f"load/{name}": count for name, count in self.sent.items()}, **newcomers}
        for box in self.boxes:
            box.wait(sum(wanted.values()))
            for topic, count in wanted.items():
                assert [m.number for m in box.items if m.topic == topic] == list(range(1, count + 1)), topic
        assert not self.gaps.items

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        for thread in self.threads:
            thread.join()
        for node in self.nodes:
            node.close()


def test_a_publisher_at_a_newcomer_is_heard_from_its_first_message_on(tmp_path: Path) -> None:
    """One joins, then two at once, then five, through different members, while publishers and subscribers work."""
    with mesh(tmp_path, 2) as proxies, Traffic([proxy.base for proxy in proxies]) as load:
        fresh: Proxies = []
        try:
            for newcomers in (1, 2, 5):
                bases = [free_base() for _ in range(newcomers)]
                publishers = [
                    threading.Thread(target=publish_from_one, args=(base, f"new/{newcomers}/{at}", 200))
                    for at, base in enumerate(bases)
                ]
                for publisher in publishers:
                    publisher.start()
                for at, base in enumerate(bases):
                    joined = proxies[at % 2].base
                    fresh.append(ProxyProcess(base, ["--join", joined], tmp_path, name=f"new{newcomers}-{at}"))
                for publisher in publishers:
                    publisher.join()
            names = sorted(proxy.name for proxy in [*proxies, *fresh])
            for node in load.nodes:
                until(lambda node=node: node.stats()["covered"] == names, f"{node.name} is covered by {names}")  # type: ignore[misc]
            load.check({f"new/{newcomers}/{at}": 200 for newcomers in (1, 2, 5) for at in range(newcomers)})
        finally:
            stop_all(fresh)


def test_a_newcomer_lets_nobody_in_while_a_member_does_not_hear_it(tmp_path: Path) -> None:
    """p2 stands still for a second, less than what makes it dead: its subscriber must not miss the first messages."""
    with mesh(tmp_path, 2) as (first, second), Node(second.base) as there:
        box, events = Box(), Box()
        assert there.wait_ack(there.subscribe("new", box), 10).ok
        newcomer = free_base()
        publisher = threading.Thread(target=publish_from_one, args=(newcomer, "new", 200))
        publisher.start()
        second.signal(STOP)
        try:
            with Proxy(newcomer, join=[first.base], name="new", settle_s=0.05, on_event=events) as joining:
                events.wait_for(lambda items: {"p1", "p2"} <= {item.get("id") for item in items}, "it knows both")
                publisher.join(1.0)
                assert publisher.is_alive() and not joining.wait_ready(0)
                second.signal(CONTINUE)
                publisher.join()
                assert [message.number for message in box.wait(200)] == list(range(1, 201))
        finally:
            second.signal(CONTINUE)
            publisher.join()


def test_subscribers_at_newcomers_hear_each_other_and_the_old_ones(tmp_path: Path) -> None:
    """Two that joined at the same time through different members know each other before they let publishers in."""
    with mesh(tmp_path, 2) as proxies:
        fresh: Proxies = []
        nodes: list[Node] = []
        try:
            fresh += [
                ProxyProcess(free_base(), ["--join", proxy.base], tmp_path, name=f"new-{proxy.name}")
                for proxy in proxies
            ]
            boxes = []
            for proxy in [*proxies, *fresh]:
                nodes.append(Node(proxy.base, connect_timeout_s=30))
                boxes.append(Box())
                nodes[-1].subscribe("all/+", boxes[-1])
            for node in nodes:
                covered = node.wait_ack(node.subscribe("all/+", print), 30).covered
                assert covered == ("new-p1", "new-p2", "p1", "p2")
            for at, node in enumerate(nodes):
                node.publish(f"all/{at}", at)
            for box in boxes:
                assert sorted(message.payload for message in box.wait(4)) == [0, 1, 2, 3]
        finally:
            for node in nodes:
                node.close()
            stop_all(fresh)


def test_a_proxy_that_restarts_and_knows_nobody_acks_nothing_false(tmp_path: Path, started: list[Process]) -> None:
    """p1 was started with no --join: its new run knows nobody. Whom its acks name must be heard, at once."""
    with (
        mesh(tmp_path, 3) as (first, second, third),
        Node(first.base, ack_timeout_s=60) as here,
        Node(second.base, name="p2") as there,
        Node(third.base, name="p3") as far,
    ):
        for number in range(3):
            first.kill()
            first = first.again()
            started.append(first)
            box, topic = Box(), f"restart/{number}"
            ack = here.wait_ack(here.subscribe(topic, box), 60)
            heard = {node.name for node in (there, far) if node.name in ack.covered}
            for node in (there, far):
                node.publish(topic, node.name)
            assert ack.ok and "p1" in ack.covered, ack
            if heard:  # on a busy machine it acks before the others have found it, and names itself alone
                box.wait_for(lambda items, heard=heard: heard <= {m.payload for m in items}, f"{heard}")  # type: ignore[misc]
            until(lambda: here.stats()["covered"] == ["p1", "p2", "p3"], "all are covered again")


def test_a_proxy_that_is_alone_may_become_a_member_and_finds_the_others_later(tmp_path: Path) -> None:
    """`--first` with an address where nobody answers yet: a mesh of its own, healed when the other comes."""
    other = free_base()
    alone = ProxyProcess(free_base(), ["--join", other, "--first"], tmp_path, name="alone")
    found = [alone]
    try:
        assert alone.wait_ready()["peers"] == []
        with Node(alone.base) as node:
            ack = node.wait_ack(node.subscribe("x", print), 10)
            assert ack.ok and ack.covered == ("alone",)
            found.append(ProxyProcess(other, [], tmp_path, name="other"))
            until(lambda: node.stats()["covered"] == ["alone", "other"], "the two have found each other", 20)
    finally:
        stop_all(found)


def test_a_joiner_whom_nobody_answers_lets_nobody_in(tmp_path: Path) -> None:
    joiner = ProxyProcess(free_base(), ["--join", free_base()], tmp_path, name="joiner")
    found = [joiner]
    try:
        joins = joiner.args[joiner.args.index("--join") + 1]
        with pytest.raises(Exception, match="no proxy answered"):
            Node(joiner.base, connect_timeout_s=1)
        assert not joiner.stdout
        found.append(ProxyProcess(joins, [], tmp_path, name="late"))
        assert joiner.wait_ready()["peers"] == ["late"]
    finally:
        stop_all(found)


def test_a_name_that_is_taken_ends_the_newcomer(tmp_path: Path) -> None:
    with mesh(tmp_path, 1) as (first,):
        again = ProxyProcess(free_base(), ["--join", first.base], tmp_path, name="p1")
        try:
            assert again.wait() != 0
            assert any("the name 'p1' is taken" in line for line in again.stderr), again.said()
        finally:
            stop_all([again])


# --- coverage that is lost and comes back


def lost_and_regained(node: Node, events: Box, name: str, cut: Callable[[], Any], heal: Callable[[], Any]) -> None:
    """Cut, wait for the loss of `name` as an event; heal, wait for its return, and for messages from there."""
    events.items.clear()
    cut()
    events.wait_for(lambda items: any(name in each.lost for each in items), f"the loss of {name}", 20)
    loss: CoverageEvent = next(each for each in events.items if name in each.lost)
    assert name not in loss.covered and name in loss.missing
    ack = node.wait_ack(node.subscribe(f"while/{name}/away", print), 20)
    assert name not in ack.covered
    heal()
    events.wait_for(lambda items: any(name in each.gained for each in items), f"the return of {name}", 30)
    assert name in until(lambda: name in node.stats()["covered"] and node.stats()["covered"], "it is covered")


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_peer_that_dies_or_stands_still_is_an_event_and_so_is_its_return(
    tmp_path: Path, started: list[Process], way: str
) -> None:
    with mesh(tmp_path, 3) as (first, second, third), Node(first.base) as here, Node(third.base) as far:
        events, box = Box(), Box()
        here.on_coverage(events)
        here.wait_ack(here.subscribe("cut/#", box), 10)

        def cut() -> None:
            second.kill() if way == "kill" else second.signal(STOP)

        def heal() -> None:
            if way == "stop":
                second.signal(CONTINUE)
            else:
                started.append(second.again())

        lost_and_regained(here, events, "p2", cut, heal)
        far.publish("cut/far", 1)
        box.wait()
        with Node(second.base) as there:
            there.publish("cut/there", 2)
        assert {m.payload for m in box.wait(2)} == {1, 2}


def test_a_proxy_that_leaves_in_good_order_is_not_missing(tmp_path: Path) -> None:
    with mesh(tmp_path, 2) as (first, second), Node(first.base) as here:
        events = Box()
        here.on_coverage(events)
        assert here.wait_ack(here.subscribe("x", print), 10).covered == ("p1", "p2")
        events.items.clear()
        assert second.stop() == 0
        events.wait_for(lambda items: items[-1:] == [CoverageEvent(("p1",), (), ("p2",), ())], "its leaving, as such")
        ack = here.wait_ack(here.subscribe("y", print), 10)
        assert ack.ok and ack.covered == ("p1",) and ack.missing == ()


# --- a link that is cut while both ends live


class Cable:
    """A network namespace and a pair of interfaces into it, to be cut and mended: Linux, and rights to make one."""

    def __init__(self) -> None:
        self.name = f"fabric{os.getpid() % 10_000}"
        third, fourth = os.getpid() // 64 % 256, os.getpid() % 64 * 4  # other runs have other addresses
        self.near, self.far = f"10.201.{third}.{fourth + 1}", f"10.201.{third}.{fourth + 2}"
        near, far = f"{self.name}a", f"{self.name}b"
        ip("netns", "add", self.name)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
        ip("addr", "add", f"{self.near}/30", "dev", near)
        ip("-n", self.name, "addr", "add", f"{self.far}/30", "dev", far)
        ip("link", "set", near, "up")
        ip("-n", self.name, "link", "set", far, "up")
        ip("-n", self.name, "link", "set", "lo", "up")

    def cut(self) -> None:
        ip("link", "set", f"{self.name}a", "down")

    def mend(self) -> None:
        ip("link", "set", f"{self.name}a", "up")

    def remove(self) -> None:
        ip("netns", "del", self.name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs root and iproute2: the link is cut between network namespaces")
    try:
        found = Cable()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield found
    found.remove()


class FarProxy(ProxyProcess):
    """A proxy at the other end of the cable."""

    def __init__(self, cable: Cable, base: str, args: list[str], log_dir: Path, *, name: str) -> None:
        command = ["ip", "netns", "exec", cable.name, *FABRIC, "proxy", "--listen", base, "--name", name, *args]
        Process.__init__(self, command, log_dir, name=name)


FAR_NODE = """
import sys
from fabric import Node
with Node(sys.argv[1], connect_timeout_s=30) as node:
    node.subscribe("cut/#", lambda message: print(message.payload, flush=True))
    print("ready", node.wait_ack(node.subscribe("x", print), 30).ok, flush=True)
    for line in sys.stdin:
        node.publish("cut/far", line.strip())
"""


def test_a_link_that_is_cut_and_healed_is_an_event_each_time(cable: Cable, tmp_path: Path) -> None:
    port = int(free_base().rpartition(":")[2])
    near_base, far_base = f"tcp://{cable.near}:{port}", f"tcp://{cable.far}:{port}"
    near = ProxyProcess(near_base, ["--insecure"], tmp_path, name="near")
    far = FarProxy(cable, far_base, ["--insecure", "--join", near_base], tmp_path, name="far")
    there = Process(
        ["ip", "netns", "exec", cable.name, sys.executable, "-c", FAR_NODE, far_base], tmp_path, name="there"
    )
    try:
        near.wait_ready()
        far.wait_ready()
        there.wait_stdout("ready True")
        with Node(near_base) as here:
            events, box = Box(), Box()
            here.on_coverage(events)
            assert here.wait_ack(here.subscribe("cut/#", box), 10).covered == ("far", "near")
            lost_and_regained(here, events, "far", cable.cut, cable.mend)
            here.publish("cut/near", "to the far side")
            there.wait_stdout("to the far side")
            there.send("from the far side")
            box.wait_for(lambda items: any(m.payload == "from the far side" for m in items), "the other side")
            near.wait_stderr("link down far")
    finally:
        there.close_stdin()
        stop_all([near, far, there])

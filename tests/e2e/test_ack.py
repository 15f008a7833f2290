"""The ack is true for the whole mesh: what is published anywhere after it arrives. Three proxies, real processes."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Iterator

import pytest

from fabric import Message, Node
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, Box, mesh

Proxies = list[ProxyProcess]
ROUNDS = int(os.environ.get("FABRIC_TEST_ACK_ROUNDS", "1000"))
ALL = ("p1", "p2", "p3")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    with mesh(tmp_path_factory.mktemp("proxies"), 3) as proxies:
        yield proxies


def rounds(subscriber: Node, publishers: list[Node], topics: Iterator[str], count: int) -> list[str]:
    """Subscribe, wait for the ack, publish at another proxy at once, unsubscribe. Return the topics that were lost."""
    lost = []
    for _, publisher, topic in zip(range(count), itertools.cycle(publishers), topics, strict=False):
        heard = threading.Event()

        def hear(message: Message, heard: threading.Event = heard) -> None:
            heard.set()

        ident = subscriber.subscribe(topic, hear)
        ack = subscriber.wait_ack(ident, PATIENCE_S)
        assert ack.ok and ack.covered == ALL and not ack.missing, ack
        publisher.publish(topic, None)
        if not heard.wait(PATIENCE_S):
            lost.append(topic)
        subscriber.unsubscribe(ident)
    return lost


def test_what_is_published_after_the_ack_at_another_proxy_is_never_lost(three: Proxies) -> None:
    with Node(three[0].base) as here, Node(three[1].base) as second, Node(three[2].base) as third:
        assert not rounds(here, [second, third], (f"round/{n}/x" for n in itertools.count()), ROUNDS)


def test_the_same_prefix_again_and_again_is_never_lost(three: Proxies) -> None:
    """Each cancel and the next subscription of one prefix follow each other through the mesh."""
    with Node(three[0].base) as here, Node(three[1].base) as second, Node(three[2].base) as third:
        assert not rounds(here, [second, third], itertools.repeat("again/x"), ROUNDS // 4)


def test_several_nodes_that_share_prefixes_never_lose_each_others(three: Proxies) -> None:
    """One node's cancel of a prefix leaves the other's subscription alone, whatever their order."""
    nodes = [Node(proxy.base) for proxy in three]
    lost: list[str] = []

    def work(at: int) -> None:
        rng = random.Random(at)
        topics = (f"shared/{rng.randrange(5)}" for _ in itertools.count())
        others = [node for node in nodes if node is not nodes[at]]
        lost.extend(rounds(nodes[at], others, topics, ROUNDS // 5))

    threads = [threading.Thread(target=work, args=(at,)) for at in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for node in nodes:
            node.close()
    assert not lost


@pytest.mark.parametrize("max_prefixes", [1_000, 20_000])
def test_twenty_thousand_filters_on_one_node(three: Proxies, max_prefixes: int) -> None:
    count = 20_000
    topics = [f"truck/{number:06}/{number % 7}" for number in range(count)]
    with Node(three[0].base, max_prefixes=max_prefixes, ack_timeout_s=60) as here, Node(three[1].base) as there:
        box, gaps = Box(), Box()
        here.on_gap(gaps)
        idents = [here.subscribe(topic, box) for topic in topics]
        assert all(here.wait_ack(ident, 60).covered == ALL for ident in idents)
        wire = here.stats()["interest"]["wire"]
        assert wire > count if max_prefixes == count else wire <= 1_001
        for number, topic in enumerate(topics):
            there.publish(topic, number)
        box.wait(count)
        assert sorted(box.payloads()) == list(range(count)) and not gaps.items
        for ident in idents:
            here.unsubscribe(ident)
        assert here.wait_ack(here.subscribe("afterwards", box), 60).ok
        assert here.stats()["interest"]["wire"] == 3, "the fabric's own two, and the last one"


def test_switching_between_fine_and_coarse_prefixes_loses_nothing(three: Proxies) -> None:
    """At the edge of the budget prefixes are coarsened and refined, while messages flow."""
    with Node(three[0].base, max_prefixes=20) as here, Node(three[1].base) as there:
        box, gaps = Box(), Box()
        here.on_gap(gaps)
        here.wait_ack(here.subscribe("switch/always", box), 10)
        enough, sent = threading.Event(), 0

        def publish() -> None:
            nonlocal sent
            while not enough.wait(0.0002):
                sent = there.publish("switch/always", sent)

        publisher = threading.Thread(target=publish)
        publisher.start()
        coarse = set()
        for _ in range(10):
            idents = [here.subscribe(f"switch/{number}", box) for number in range(40)]
            here.wait_ack(idents[-1], 10)
            coarse.add(here.stats()["interest"]["coarse"])
            for ident in idents:
                here.unsubscribe(ident)
            here.wait_ack(here.subscribe(f"other/{len(box)}", print), 10)
            coarse.add(here.stats()["interest"]["coarse"])
        enough.set()
        publisher.join()
        assert len(coarse) > 1 and min(coarse) == 0, f"it never switched: {coarse}"
        box.wait(sent)
        assert [message.number for message in box.items] == list(range(1, sent + 1)) and not gaps.items

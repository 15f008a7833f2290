"""scripts/rolling-restart with publishers and subscribers at work: none lost, none twice, order kept on every topic.

Three proxies; at each a publisher and a subscriber of every publisher, which know all three addresses and move when
theirs drains. FABRIC_ROLLS: rounds over all proxies (1), FABRIC_RATE: messages a second and publisher (500).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric import Node
from tests.faults.ledger import Books, Steady
from tests.support.processes import ProxyProcess
from tests.support.stacks import Scripts
from tests.support.waiting import Box, until

PROXIES = 3
ROLLS = int(os.environ.get("FABRIC_ROLLS", "1"))
RATE = float(os.environ.get("FABRIC_RATE", "500"))


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    found = Scripts(tmp_path)
    yield found
    for pid in found.pids().values():
        os.kill(pid, signal.SIGKILL)


def test_no_message_is_lost_none_comes_twice_and_order_is_kept(scripts: Scripts) -> None:
    done = scripts.run("up", "--proxies", str(PROXIES), "--listen", scripts.base)
    assert done.returncode == 0, done.stderr
    bases = done.stdout.rpartition("FABRIC_CONNECT='")[2].strip("'\n").split()
    assert len(bases) == PROXIES
    with contextlib.ExitStack() as stack:
        nodes = [
            (stack.enter_context(Node(order, name=f"pub{at}")), stack.enter_context(Node(order, name=f"sub{at}")))
            for at, order in enumerate(bases[at:] + bases[:at] for at in range(PROXIES))
        ]
        states = Box()
        for pair in nodes:
            for node in pair:
                node.on_state(states)
        books = {(at, by): Books(sub, f"k{by}/#") for at, (_, sub) in enumerate(nodes) for by in range(PROXIES)}
        work = [stack.enter_context(Steady(pub, rate=RATE, root=f"k{by}")) for by, (pub, _) in enumerate(nodes)]
        until(lambda: all(each.total_delivered for each in books.values()), "messages flow")
        for _ in range(ROLLS):
            before = scripts.pids()
            rolled = scripts.run("rolling-restart", timeout_s=120)
            assert rolled.returncode == 0, rolled.stderr
            assert not set(before.values()) & set(scripts.pids().values()), "each is a new process"
        for steady in work:
            steady.stop()
            assert not steady.refused
        for (_, by), book in books.items():
            book.settle(work[by].accepted)
            assert not book.total_lost and not book.gaps
        reasons = {state.reason for state in states.items if state.state != "connected"}
        assert reasons == {"the proxy drains"}, "nodes moved; none had to find out that its proxy was gone"
        assert sum(state.uncertain for state in states.items) == 0


def test_publishers_with_one_address_lose_nothing_while_their_proxy_is_restarted(
    proxies: Callable[..., list[ProxyProcess]],
) -> None:
    """It took their messages, and confirmed them, when its peers had let go of it already."""
    here, there = proxies(2)
    with Node(there.base) as subscriber, Node(here.base, send_timeout_s=45.0) as publisher:
        heard, gaps = Box(), Box()
        subscriber.on_gap(gaps)
        assert subscriber.wait_ack(subscriber.subscribe("k/#", heard), 45.0).ok
        accepted, enough = [0], threading.Event()

        def publish() -> None:
            while not enough.wait(0.0005):
                accepted[0] = publisher.publish("k/1", None)

        thread = threading.Thread(target=publish)
        thread.start()
        heard.wait(100)
        here.signal(signal.SIGTERM)
        assert here.wait() == 0
        again = here.again()
        try:
            again.wait_ready()
            before = len(heard)
            heard.wait(before + 100)
            enough.set()
            thread.join()
            heard.wait(accepted[0])
            assert [message.number for message in heard.items] == list(range(1, accepted[0] + 1)) and not gaps.items
        finally:
            enough.set()
            publisher.close()
            again.stop()


def test_what_comes_back_of_the_old_connection_does_not_prove_the_new_one(
    proxies: Callable[..., list[ProxyProcess]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher holds the lock when the new connection is due; meanwhile a watermark sent before comes back by the
    new way. Taken for a proof, it let the node say `connected` with its gate shut for ever."""
    old, new = proxies(2)
    with Node(old.base, name="stays"), Node([old.base, new.base], name="mover") as node:
        states, open_really, refused = Box(), node._engine.up.open, 0
        node.on_state(states)

        def open_late(endpoint: str) -> bool:
            nonlocal refused
            refused += 1
            node._engine.up.probe()
            return refused > 30 and open_really(endpoint)

        assert node.publish("a", 0) == 1
        until(lambda: node.stats()["unconfirmed"] == 0, "it has a connection to publish")
        monkeypatch.setattr(node._engine.up, "open", open_late)
        old.signal(signal.SIGTERM)
        states.wait_for(lambda items: bool(items) and items[-1].state == "connected", "it has moved")
        assert node.state.base == new.base and refused > 30, "it was not there before it had a connection"
        assert node.publish("a", 1, timeout_s=5) == 2

"""The key that all proxies show is changed under load: both hold for a while, and one after the other shows the new."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from fabric import Node, Proxy
from fabric.identity import folder
from tests.support.processes import free_base
from tests.support.waiting import PATIENCE_S, Box, until


def test_the_key_of_a_mesh_is_changed_and_nothing_is_lost(tmp_path: Path) -> None:
    keys, bases = tmp_path / "keys", [free_base(), free_base()]
    folder.create(keys)
    for name in ("p1", "p2"):
        folder.add(keys, name, ["proxy"])
    folder.add(keys, "me", ["operator"])

    def start(index: int) -> Proxy:
        other = bases[1 - index]
        proxy = Proxy(bases[index], name=f"p{index + 1}", keys=keys, join=[other], first=index == 0, settle_s=0.3)
        proxy.start()
        assert proxy.wait_ready(PATIENCE_S)
        return proxy

    heard, gaps = Box(), Box()
    over = threading.Event()
    sent = 0
    with ExitStack() as opened:
        proxies = [start(0), start(1)]

        def close_all() -> None:
            for proxy in proxies:
                proxy.close()

        opened.callback(close_all)
        publisher = opened.enter_context(Node(bases, keys=keys, identity="me"))
        subscriber = opened.enter_context(Node([*reversed(bases)], keys=keys, identity="me"))
        subscriber.on_gap(gaps)
        ack = subscriber.wait_ack(subscriber.subscribe("t/#", lambda message: heard(message.payload)), PATIENCE_S)
        assert ack.ok and not ack.missing

        def publish() -> None:
            nonlocal sent
            while not over.wait(0.002):
                publisher.publish("t/x", sent, timeout_s=PATIENCE_S)
                sent += 1

        loop = threading.Thread(target=publish)
        loop.start()
        opened.callback(over.set)
        folder.rotate(keys, "mesh")
        until(
            lambda: all(node._engine.credentials.knows_two for node in (publisher, subscriber)), "both keys are known"
        )
        for index in (0, 1):
            proxies[index].drain()
            until(proxies[index]._ended.is_set, "it has left")
            proxies[index] = start(index)
            until(lambda: {publisher.state.state, subscriber.state.state} == {"connected"}, "they have moved")
            until(lambda: set(subscriber.stats()["covered"]) == {"p1", "p2"}, "both are covered")
        over.set()
        loop.join()
        until(lambda: len(heard.items) >= sent, f"all of {sent} have arrived")
        assert heard.items == list(range(sent)) and not gaps.items

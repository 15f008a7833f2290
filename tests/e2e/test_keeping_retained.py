"""Retained values outlive the whole mesh, and their publishers, where a keeper runs."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from fabric import Message, Node
from tests.support.keys import KeyFolder
from tests.support.processes import FabricProcess, ProxyProcess, free_base
from tests.support.waiting import PATIENCE_S, mesh, stop_all, until

NODE_CLOSE_S = 5.0
"""So long a node waits at its end, unless told otherwise, for what was not confirmed."""


def values(node: Node, topic_filter: str) -> dict[str, Any]:
    """What a subscriber that comes now is told before its ack."""
    got: list[Message] = []
    ident = node.subscribe(topic_filter, got.append, retained=True)
    assert node.wait_ack(ident, PATIENCE_S).ok
    node.unsubscribe(ident)
    return {message.topic: message.payload for message in got}


def last_kept(node: Node, topic: str) -> Any:
    [message] = node.history(topic, since=1)
    return message.payload


def keeper_at(proxy: ProxyProcess, folder: Path, *args: str) -> FabricProcess:
    command = ("keep", "--store", f"sqlite:///{folder}/keep.db", "--connect", proxy.base)
    keeper = FabricProcess([*command, *args, "v/#"], folder, name="keeper")
    keeper.wait_event("ready")
    return keeper


def all_killed_and_again(proxies: list[ProxyProcess], started: list[FabricProcess]) -> None:
    """Nothing of what they kept is left."""
    for proxy in proxies:
        proxy.kill()
    for at, proxy in enumerate(proxies):
        proxies[at] = proxy.again()
        started.append(proxies[at])
        proxies[at].wait_ready()


def test_publishers_keeper_and_all_proxies_end_and_the_values_come_back(tmp_path: Path) -> None:
    started: list[FabricProcess] = []
    with mesh(tmp_path, 2) as proxies:
        try:
            started.append(keeper_at(proxies[0], tmp_path))
            with Node(proxies[1].base) as publisher:
                publisher.publish("v/a", "a", {"h": 1}, retain=True)
                publisher.publish("v/b", {"b": [1]}, retain=True)
                publisher.publish("v/cleared", "c", retain=True)
                publisher.publish("v/cleared", None, retain=True)
                publisher.publish("v/newer", "old", retain=True)
                publisher.publish("v/short", "s", retain=True, expires_s=1)
                assert len(list(publisher.history("v/#"))) == 6, "the keeper has them"
            assert started[0].stop() == 0
            all_killed_and_again(proxies, started)
            with Node(proxies[1].base) as setter, Node(proxies[1].base) as late:
                assert values(late, "v/#") == {}, "nobody has them but the keeper"
                setter.publish("v/newer", "new", retain=True)
                until(lambda: setter.stats()["unconfirmed"] == 0, "it is set")
                keeper = keeper_at(proxies[0], tmp_path)
                started.append(keeper)
                wanted = {"v/a": "a", "v/b": {"b": [1]}, "v/newer": "new"}
                until(lambda: values(late, "v/#") == wanted, "they are back, and no others")
                assert values(setter, "v/#") == wanted

                setter.publish("v/a", "set since", retain=True)
                setter.publish("v/b", None, retain=True)
                wanted = {"v/a": "set since", "v/newer": "new"}
                until(lambda: values(late, "v/#") == wanted, "what the keeper gave is a value like any other")
                until(lambda: last_kept(late, "v/a") == "set since", "the keeper has heard of it")
                until(lambda: last_kept(late, "v/b") is None, "and that it was cleared")
            all_killed_and_again(proxies, started)  # with the keeper alive, and no publisher
            with Node(proxies[1].base) as late:
                until(lambda: values(late, "v/#") == wanted, "they are back once more")
        finally:
            stop_all(started)


def test_what_was_cleared_stays_cleared_when_keeper_and_all_proxies_end_at_once(tmp_path: Path) -> None:
    started: list[FabricProcess] = []
    with mesh(tmp_path, 2) as proxies:
        try:
            keeper = keeper_at(proxies[0], tmp_path)
            started.append(keeper)
            with Node(proxies[1].base) as publisher:
                publisher.publish("v/door", "open", retain=True)
                publisher.publish("v/other", "x", retain=True)
                assert len(list(publisher.history("v/#"))) == 2, "the keeper has them"
            all_killed_and_again(proxies, started)
            with Node(proxies[1].base) as late:
                until(lambda: len(values(late, "v/#")) == 2, "the keeper holds them now")
                late.publish("v/door", None, retain=True)
                until(lambda: last_kept(late, "v/door") is None, "it has heard that")
            keeper.signal(signal.SIGTERM)
            all_killed_and_again(proxies, started)
            assert keeper.wait() == 0
            with Node(proxies[1].base) as late:
                assert values(late, "v/#") == {}, "who has ended gives nothing back"
                started.append(keeper_at(proxies[0], tmp_path))
                until(lambda: values(late, "v/#"), "the next keeper has asked the mesh")
                assert values(late, "v/#") == {"v/other": "x"}
        finally:
            stop_all(started)


def test_a_keeper_ends_though_no_proxy_is_there(tmp_path: Path) -> None:
    with mesh(tmp_path, 1) as proxies:
        keeper = keeper_at(proxies[0], tmp_path)
        try:
            proxies[0].kill()
            keeper.signal(signal.SIGTERM)
            asked_at = time.monotonic()
            assert keeper.wait() == 0
            assert time.monotonic() - asked_at < NODE_CLOSE_S, "it waits for no proxy"
        finally:
            stop_all([keeper])


def test_with_keys_it_gives_back_what_it_may_publish(tmp_path: Path) -> None:
    folder = KeyFolder(
        tmp_path / "keys",
        {"p1": "proxy", "n1": "node", "k1": "keeper", "k2": "returner"},
        {"returner": {"subscribe": ["#"], "publish": ["v/open/#"], "serve": ["keeper"]}},
    )
    started: list[FabricProcess] = []
    proxy = ProxyProcess(free_base(), ["--keys", str(folder.path), "--identity", "p1"], tmp_path, name="p1")
    started.append(proxy)
    try:
        proxy.wait_ready()
        first = keeper_at(proxy, tmp_path, "--keys", str(folder.path), "--identity", "k1")
        started.append(first)
        with Node(proxy.base, keys=folder.keys("n1")) as publisher:
            publisher.publish("v/open/a", "a", retain=True)
            publisher.publish("v/b", "b", retain=True)
            assert len(list(publisher.history("v/#"))) == 2
        assert first.stop() == 0
        proxy.kill()
        again = proxy.again()
        started.append(again)
        again.wait_ready()
        with Node(again.base, keys=folder.keys("n1")) as late:
            started.append(keeper_at(again, tmp_path, "--keys", str(folder.path), "--identity", "k2"))
            until(lambda: values(late, "v/#") == {"v/open/a": "a"}, "the one that it may publish")
    finally:
        stop_all(started)

"""Retained values outlive the whole mesh, and their publishers, where a keeper runs."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Message, Node
from fabric.errors import FabricError
from nodes.keep.returning import SETTLE_S
from tests.support.keys import KeyFolder
from tests.support.processes import FabricProcess, ProxyProcess, free_base
from tests.support.waiting import PATIENCE_S, mesh, stop_all, until

ENDED_S = 3.0
"""A keeper takes about one second at most to end, on a machine that others keep busy a little more."""
READERS = 6
CLEARED_ROUNDS = 2
ASKED_S = SETTLE_S + 1.0


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


@pytest.mark.parametrize("was_given_back", [False, True])
def test_what_was_set_and_cleared_comes_back_to_nobody(was_given_back: bool, tmp_path: Path) -> None:
    """The keeper's end, that of all proxies, and the start of all, one upon the other; a few times."""
    started: list[FabricProcess] = []
    with mesh(tmp_path, 2) as proxies:
        try:
            for number in range(CLEARED_ROUNDS):
                topic = f"v/{number}"
                keeper = keeper_at(proxies[0], tmp_path)
                started.append(keeper)
                with Node(proxies[1].base) as publisher:
                    publisher.publish(topic, "x", retain=True)
                    assert len(list(publisher.history(topic))) == 1, "the keeper has it"
                if was_given_back:
                    all_killed_and_again(proxies, started)
                with Node(proxies[1].base) as publisher:
                    until(lambda: values(publisher, topic) == {topic: "x"}, "it is there")  # noqa: B023
                    publisher.publish(topic, None, retain=True)
                    until(lambda: publisher.stats()["unconfirmed"] == 0, "it is cleared")
                    assert len(list(publisher.history(topic))) == 2, "the keeper has heard of it"
                keeper.signal(signal.SIGTERM)
                all_killed_and_again(proxies, started)
                with Node(proxies[1].base) as early:
                    told: list[Message] = []
                    early.wait_ack(early.subscribe("v/#", told.append, retained=True), PATIENCE_S)
                    assert keeper.wait() == 0
                    started.append(keeper_at(proxies[0], tmp_path))
                    early.publish("v/last", number, retain=True)
                    until(lambda: [each.payload for each in told][-1:] == [number], "what comes is heard")  # noqa: B023
                    time.sleep(ASKED_S)  # by then the keeper has asked the mesh, and would have given it back
                    assert {each.topic for each in told if each.payload is not None} == {"v/last"}
                    assert values(early, "v/#") == {"v/last": number}
                assert started[-1].stop() == 0
        finally:
            stop_all(started)


def ended_in_s(keeper: FabricProcess) -> float:
    asked_at = time.monotonic()
    keeper.signal(signal.SIGTERM)
    assert keeper.wait() == 0
    return time.monotonic() - asked_at


@contextlib.contextmanager
def readers(base: str, topic_filter: str) -> Iterator[None]:
    """Several who read a history of many pages again and again, so that one of them always waits for a page."""
    over = threading.Event()

    def read(node: Node) -> None:
        with contextlib.suppress(FabricError):
            while not over.is_set():
                list(node.history(topic_filter))

    with Node(base) as node:
        for number in range(3_000):
            node.publish(f"v/{number % 10}", "x" * 500)
        assert len(list(node.history(topic_filter))) == 3_000
        threads = [threading.Thread(target=read, args=(node,)) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            node.close(0)
            for thread in threads:
                thread.join()


def test_a_keeper_ends_though_no_proxy_is_there(tmp_path: Path) -> None:
    with mesh(tmp_path, 1) as proxies:
        keeper = keeper_at(proxies[0], tmp_path)
        try:
            proxies[0].kill()
            assert ended_in_s(keeper) < ENDED_S, "it waits for no proxy"
        finally:
            stop_all([keeper])


def test_a_keeper_ends_though_those_who_ask_it_cannot_be_answered_any_more(tmp_path: Path) -> None:
    with mesh(tmp_path, 1) as proxies:
        keeper = keeper_at(proxies[0], tmp_path)
        try:
            with readers(proxies[0].base, "v/#"):
                proxies[0].kill()
                assert ended_in_s(keeper) < ENDED_S, "it waits for no proxy"
        finally:
            stop_all([keeper])


@pytest.mark.parametrize("command", ["keep", "frame", "record"])
def test_it_ends_though_it_has_found_no_proxy_yet(command: str, tmp_path: Path) -> None:
    words = [command, "--connect", free_base(), "--connect-timeout", "30", "--http", "http://127.0.0.1:0"]
    words += ["v/#"] if command != "frame" else []
    words += ["--store", f"sqlite:///{tmp_path}/x.db"] if command != "record" else []
    process = FabricProcess(words, tmp_path)
    try:
        process.wait_stderr("status page at")
        assert ended_in_s(process) < ENDED_S, "it has nothing to finish"
    finally:
        stop_all([process])


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

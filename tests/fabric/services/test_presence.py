"""Presence: announced, found at once, gone with a last word or with the lease, judged only after reading."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Ack, Node
from fabric.errors import LocalWireError, ScopeError
from fabric.services.directory import SERVICE, Change, Instance
from fabric.services.presence import Announcer, Held, Watcher
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, Box, mesh, until

pytestmark = pytest.mark.plain_sockets


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@pytest.fixture
def here(two: list[ProxyProcess]) -> Iterator[Node]:
    with Node(two[0].base, name="here") as node:
        yield node


@pytest.fixture
def there(two: list[ProxyProcess]) -> Iterator[Node]:
    with Node(two[1].base, name="there") as node:
        yield node


class Changes(Box):
    """What a watcher told, as pairs (kind, instance id)."""

    def __call__(self, change: Change) -> None:
        super().__call__((change.kind, change.instance.id))


def test_found_across_the_mesh_and_gone_with_its_last_word(here: Node, there: Node) -> None:
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch("clock")
    announcer = Announcer(there, "clock", "run-1", version="1.2", info={"zone": "UTC"}, load=lambda: 0.5)
    changes.wait_for(lambda items: ("appeared", "run-1") in items, "it appeared")
    assert watcher.live("clock") == [Instance("clock", "run-1", "", "1.2", 0.5, "serving", 3.5, {"zone": "UTC"})]
    announcer.close()
    announcer.close()
    changes.wait_for(lambda items: items[-1] == ("left", "run-1"), "it left, long before its lease ran out", 3.0)
    assert watcher.live() == []


def test_who_comes_later_asks_and_need_not_wait_a_second(here: Node, there: Node) -> None:
    announcer = Announcer(there, "asked", "run-1")
    until(lambda: announcer._last, "it announced itself")
    waits = []
    for _ in range(5):
        changes = Changes()
        watcher = Watcher(here, changes)
        began = time.monotonic()
        watcher.watch("asked")
        changes.wait(1)
        waits.append(time.monotonic() - began)
        watcher.close()
    assert sorted(waits)[2] < 0.6, f"{waits}: by announcements alone half a second is the mean, and a second the most"


def test_questions_are_answered_together(here: Node, there: Node) -> None:
    """However many ask, one instance announces itself at most ten times a second."""
    heard, asker = Box(), Watcher(here)
    assert here.wait_ack(here.subscribe(f"{SERVICE}flood/+", heard), PATIENCE_S).ok
    announcer = Announcer(there, "flood", "run-1")
    heard.wait(1)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        asker.ask("flood")
        asker.ask()
    assert 3 <= len(heard) <= 9, "some in half a second, and not one for each question"
    announcer.close()


def test_watching_all_services(here: Node, there: Node) -> None:
    announcers = [Announcer(there, name, "run-1") for name in ("one", "two")]
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch()
    changes.wait(2)
    assert {each.service for each in watcher.live()} == {"one", "two"}
    assert [each.service for each in watcher.live("two")] == ["two"]
    for announcer in announcers:
        announcer.close()
    changes.wait(4)


def test_draining_is_told_at_once(here: Node, there: Node) -> None:
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch("drains")
    announcer = Announcer(there, "drains", "run-1")
    changes.wait(1)
    announcer.drain()
    changes.wait_for(lambda items: items[-1] == ("changed", "run-1"), "it drains")
    assert watcher.live("drains")[0].state == "draining"
    announcer.close()


def test_one_that_falls_silent_is_gone_when_its_lease_is(here: Node, there: Node) -> None:
    """As after `kill -9`: no last word."""
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch("silent")
    announcer = Announcer(there, "silent", "run-1", lease_s=1.5)
    changes.wait(1)
    there.detach(announcer)
    fell_silent = time.monotonic()
    changes.wait_for(lambda items: items[-1] == ("left", "run-1"), "its lease ran out")
    assert 0.4 < time.monotonic() - fell_silent < 1.5 + 2.0


def test_a_listener_that_stood_still_reads_before_it_judges(here: Node, there: Node) -> None:
    """A callback takes longer than the lease. The announcements wait to be read: nobody has left."""
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch("patient")
    with_short_lease = Announcer(there, "patient", "run-1", lease_s=1.2)
    changes.wait(1)
    done = Box()

    def stall(message: Any) -> None:
        time.sleep(2.5)
        done(message)

    here.subscribe("~/stall", stall)
    here.publish("~/stall", None)
    done.wait(1)
    until(lambda: watcher._ticked > time.monotonic() - 0.1, "the I/O thread goes on")
    here.publish("~/after", None)
    read = Box()
    assert here.wait_ack(here.subscribe("after/#", read), PATIENCE_S).ok
    there.publish("after/x", 1)
    read.wait(1)
    assert ("left", "run-1") not in changes.items
    with_short_lease.close()


def test_a_listener_that_always_has_something_to_read_judges_too(here: Node) -> None:
    """Pure of time: `tick` is told that the node is never idle."""
    changes = Changes()
    watcher = Watcher(here, changes)
    here.detach(watcher)  # the test gives the ticks
    instance = Instance("busy", "run-1", lease_s=5.0)
    watcher.directory.announcement_heard(instance.topic, instance.to_map(), 100.0)
    watcher.tick(100.0, False)
    for step in range(70):
        watcher.tick(100.0 + step / 10, False)
    assert ("left", "run-1") in changes.items, "it reads all the time, and nothing came"

    watcher.directory.announcement_heard(instance.topic, instance.to_map(), 200.0)
    watcher.tick(206.0, False)
    watcher.tick(208.0, False)
    assert watcher.live("busy"), "it stood still for long, and may not have read everything"
    watcher.tick(208.1, True)
    assert not watcher.live("busy"), "now it has"


def test_forged_announcements_are_counted_and_harm_nobody(here: Node, there: Node) -> None:
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch("forged")
    real = Announcer(there, "forged", "run-1")
    changes.wait(1)
    junk: list[Any] = [
        None,
        5,
        "x",
        b"\0" * 100,
        [],
        {},
        {"name": "forged"},
        real.instance.to_map() | {"lease_s": "long"},
    ]
    for payload in junk:
        there.publish_system(f"{SERVICE}forged/run-1", payload)
        there.publish_system(f"{SERVICE}forged/other", payload)
    there.publish_system(f"{SERVICE}forged/run-2", real.instance.to_map())
    until(lambda: watcher.directory.refused == 2 * len(junk) + 1, "all are refused")
    assert [each.id for each in watcher.live()] == ["run-1"]
    assert here.stats()["failed_callbacks"] == 0
    real.close()


def test_names_are_checked(here: Node) -> None:
    watcher = Watcher(here)
    for bad in ("", "a/b", "+", "x" * 101):
        with pytest.raises(ValueError, match=r"invalid service .*: expected 1 to 100 characters"):
            watcher.watch(bad)
        with pytest.raises(ValueError, match="invalid service"):
            Announcer(here, bad, "run-1")
        with pytest.raises(ValueError, match="invalid instance"):
            Announcer(here, "clock", bad)
    for info in ({"x": 2**70}, {"x": {1}}, {"x": "y" * 70_000}):
        with pytest.raises(LocalWireError):
            Announcer(here, "clock", "run-1", info=info)
    with pytest.raises(ScopeError):
        here.publish(f"{SERVICE}clock/run-1", {})


def test_closing_the_node_says_the_last_word(two: list[ProxyProcess], here: Node) -> None:
    changes = Changes()
    watcher = Watcher(here, changes)
    watcher.watch("short")
    with Node(two[1].base) as node:
        Announcer(node, "short", "run-1")
        changes.wait(1)
    changes.wait_for(lambda items: items[-1] == ("left", "run-1"), "the last word came", 3.0)


def test_a_subscription_is_asked_for_until_it_is_acked(here: Node) -> None:
    acked = Box()
    held = Held(here, "held/#", print, lambda: acked(1))
    acked.wait(1)
    before = held._id
    held._on_ack(Ack(False, (), (), 5.0, "no proxy answered"))
    assert held._id != before and here.wait_ack(held._id, PATIENCE_S).ok
    acked.wait(2)
    held.close()
    last = held._id
    held._on_ack(Ack(False, (), (), 5.0, "unsubscribed before the ack"))
    assert held._id == last, "one that was closed is not asked for again"
    held.close()

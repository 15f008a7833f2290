"""Readers: who is cut for reading too slowly, and who is not."""

from __future__ import annotations

import pytest

from fabric.proxy.readers import PAUSE_S, PRESSED_S, SLOW_S, STILL_S, WATCH_S, Readers, Seen

BOUND = 1_000
OVER, UNDER, LITTLE = 1_001, 900, 10


class Proxy:
    """Readers by name, and a clock. `taken` and `is_full` of each are set by the test."""

    def __init__(self, stalled_s: float = 30.0) -> None:
        self.readers = Readers(BOUND, {"out": stalled_s, "guest": 10.0})
        self.now = 100.0
        self.seen: dict[str, Seen] = {}

    def reader(self, name: str, *, full: bool = True, taken: int = 0, door: str = "out") -> None:
        number = self.seen[name].number if name in self.seen else len(self.seen) + 10
        self.seen[name] = Seen(number, number * 7, door, name, full, taken)

    def look(self, queued: int, passed: float = PRESSED_S) -> list[str]:
        self.now += passed
        found = self.readers.looked(self.seen.values(), queued, self.now, 0.0)
        for each in found:
            del self.seen[each.seen.peer]
        return [f"{each.seen.peer}: {each.why}" for each in found]


def names(found: list[str]) -> list[str]:
    return [each.partition(":")[0] for each in found]


def test_below_the_bound_nobody_is_cut_who_has_not_stalled_for_long() -> None:
    proxy = Proxy()
    proxy.reader("stalled")
    for _ in range(29):
        assert proxy.look(UNDER, 1.0) == []
    assert proxy.look(UNDER, 2.0) == ["stalled: it took nothing for 30.0 s"]
    assert proxy.readers.cut == 1


def test_who_takes_something_is_not_stalled() -> None:
    proxy = Proxy()
    for taken in range(100):
        proxy.reader("slow", taken=taken)
        assert proxy.look(UNDER, 5.0) == []
    proxy.reader("slow", full=False, taken=100)
    assert proxy.look(UNDER, 100.0) == []
    proxy.reader("slow", taken=100)
    assert proxy.look(UNDER, 1.0) == [], "it begins when its connection is full"


def test_each_door_has_its_time_and_0_is_none() -> None:
    proxy = Proxy(stalled_s=0)
    for name, door in (("node", "out"), ("guest", "guest"), ("proxy", "link")):
        proxy.reader(name, door=door)
    proxy.look(UNDER)
    assert names(proxy.look(UNDER, 1_000.0)) == ["guest"]


def test_over_the_bound_who_has_taken_nothing_for_longest_goes_and_then_the_next() -> None:
    proxy = Proxy()
    proxy.reader("first")
    proxy.look(LITTLE)
    proxy.reader("second")
    proxy.reader("healthy", full=False)
    proxy.look(LITTLE, STILL_S)
    for taken in range(3):
        proxy.reader("busy", taken=taken)
        proxy.look(LITTLE)
    assert names(proxy.look(OVER)) == ["first"]
    assert proxy.look(OVER, PAUSE_S / 2) == [], "libzmq has not let go yet of what waited for the first"
    assert names(proxy.look(OVER, PAUSE_S / 2)) == ["second"]
    proxy.reader("busy", taken=9)
    assert proxy.look(OVER, PAUSE_S) == []


def test_who_only_breathes_is_not_cut() -> None:
    proxy = Proxy()
    proxy.reader("breathes")
    proxy.look(LITTLE)
    assert proxy.look(OVER, STILL_S / 2) == []


def test_when_all_take_something_who_takes_least_goes() -> None:
    proxy = Proxy()
    found: list[str] = []
    for turn in range(int(SLOW_S / PRESSED_S) + 3):
        proxy.reader("slow", taken=10 * turn)
        proxy.reader("slower", taken=turn)
        proxy.reader("quick", full=False, taken=10**6)
        found += proxy.look(OVER)
        if found:
            break
    assert len(found) == 1 and found[0].startswith("slower: 1,001 bytes were queued, and it took least: ")


def test_where_nobody_is_full_nobody_is_cut() -> None:
    proxy = Proxy()
    proxy.reader("quick", full=False)
    for _ in range(100):
        assert proxy.look(OVER) == []


def test_a_descriptor_that_belongs_to_another_one_now_begins_again() -> None:
    proxy = Proxy()
    proxy.reader("a")
    proxy.look(LITTLE)
    seen = proxy.seen.pop("a")
    proxy.seen["b"] = seen._replace(inode=1, peer="b")
    assert proxy.look(OVER, 10.0) == [] and names(proxy.look(OVER, 10.0)) == ["b"]


@pytest.mark.parametrize(("queued", "pause"), [(LITTLE, WATCH_S), (BOUND // 2, PRESSED_S)])
def test_it_looks_seldom_and_often_under_pressure(queued: int, pause: float) -> None:
    proxy = Proxy()
    assert proxy.readers.wants_look(queued, proxy.now)
    proxy.look(queued)
    assert not proxy.readers.wants_look(queued, proxy.now + pause * 0.9)
    assert proxy.readers.wants_look(queued, proxy.now + pause)


def test_where_nothing_waits_it_does_not_look_and_what_it_knew_is_over() -> None:
    proxy = Proxy()
    proxy.reader("stalled")
    proxy.look(LITTLE)
    assert not proxy.readers.wants_look(0, proxy.now + 1_000)
    assert proxy.look(LITTLE, 1_000.0) == []


def test_a_look_that_takes_long_is_seldom_taken() -> None:
    readers = Readers(BOUND, {})
    readers.looked([], LITTLE, 100.0, took_s=0.5)
    assert not readers.wants_look(LITTLE, 109.0) and readers.wants_look(LITTLE, 110.0)

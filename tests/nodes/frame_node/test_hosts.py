"""Agreements with page hosts: the same at every frame node of a store, and not more of them than can be worked out."""

from __future__ import annotations

import pytest

from fabric.errors import Busy
from nodes.frame_node import hosts as hosts_module
from nodes.frame_node.hosts import NEW_A_SECOND, NEW_AT_ONCE, Hosts
from nodes.rules.acquaintance import Acquaintance
from nodes.rules.agreement import agreed, public_of
from nodes.rules.proofs import key_of

PRIVATE, KEY = b"s" * 32, key_of("page")


def test_what_is_handed_over_is_opened_by_every_frame_node_of_the_store() -> None:
    host = Acquaintance(b"h" * 32)
    assert host.met(Hosts(PRIVATE).meet(host.public), 0.0)
    told = str(host.handed_over(KEY, "once")["sealed"])
    assert Hosts(PRIVATE).key(host.public, told, "once") == KEY
    assert Hosts(PRIVATE).key(host.public, told, "twice") != KEY != Hosts(b"o" * 32).key(host.public, told, "once")


def test_what_is_no_public_part_is_none() -> None:
    assert Hosts(PRIVATE).meet(bytes(256)) is None
    assert Hosts(PRIVATE).key(b"", KEY, "once") is None


def test_strangers_who_invent_hosts_are_busy_and_known_hosts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(hosts_module, "agreed", lambda private, host: key_of(str(host)))  # 3 ms each
    hosts = Hosts(PRIVATE, lambda: now)
    known = public_of(b"h" * 32)
    assert hosts.meet(known)
    for number in range(int(NEW_AT_ONCE) - 1):
        assert hosts.meet(b"%256d" % number)
    for number in range(3):
        with pytest.raises(Busy, match="too many new page hosts"):
            hosts.meet(b"%256d" % (1_000_000 + number))
        assert hosts.key(known, KEY, "once")
    now += 5 / NEW_A_SECOND
    for number in range(5):
        assert hosts.meet(b"%256d" % (2_000_000 + number))
    with pytest.raises(Busy):
        hosts.meet(b"%256d" % 3_000_000)


def test_of_too_many_the_one_that_was_used_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts_module, "MAX_HOSTS", 2)
    hosts, worked_out = Hosts(PRIVATE), list[bytes]()

    def counted(private: bytes, host: bytes) -> str | None:
        worked_out.append(host)
        return agreed(private, host)

    monkeypatch.setattr(hosts_module, "agreed", counted)
    one, two, three = (public_of(letter * 32) for letter in (b"1", b"2", b"3"))
    for host in (one, two, one, three, one, two):
        assert hosts.meet(host)
    assert worked_out == [one, two, three, two]

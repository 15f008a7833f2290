"""Who has a place at a gateway: of all, of one host, of one network."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.gateway.places import Places


@dataclass
class Guest:
    address: str


def test_a_place_is_taken_and_freed_once() -> None:
    places, one = Places(), Guest("203.0.113.9")
    for _ in range(2):
        places.take(one)
        assert len(places) == 1 and not places.has_room("203.0.113.9", 10, 1)
    for _ in range(2):
        places.free(one)
        assert len(places) == 0 and places.has_room("203.0.113.9", 10, 1)


def test_there_is_room_in_all_of_a_host_and_of_a_network() -> None:
    places = Places()
    for number in range(4):
        places.take(Guest(f"203.0.113.{number // 2}"))
    assert places.has_room("203.0.113.9", 10, 3) and not places.has_room("203.0.113.9", 4, 3), "of all"
    assert not places.has_room("203.0.113.1", 10, 2), "of the host"
    assert not places.has_room("203.0.113.9", 10, 2), "of the network, which has twice a host's"
    assert places.has_room("198.51.100.1", 10, 2)
    places.take(Guest("2001:db8:1:1::/64"))
    places.take(Guest("2001:db8:1:2::/64"))
    assert not places.has_room("2001:db8:1:3::/64", 10, 1) and places.has_room("2001:db8:2:3::/64", 10, 1)

"""A node's interest in halves: `#` brings nothing that begins with `$` or `~`; what is coarser keeps to rights."""

from __future__ import annotations

from fabric.node.interests import Interests


def test_the_empty_prefix_stands_for_one_half_only() -> None:
    interests = Interests(10)
    assert interests.hold("$fabric/proxy/p1/#").subscribe == (b"$fabric/proxy/p1\0", b"$fabric/proxy/p1/")
    change = interests.hold("#")
    assert change.subscribe == (b"",) and change.cancel == (), "what begins with $ is still held for itself"
    assert interests.hold("truck/1").subscribe == (), "the empty prefix brings it"
    assert interests.wire() == {b"", b"$fabric/proxy/p1\0", b"$fabric/proxy/p1/"}
    assert interests.release("#").subscribe == (b"truck/1\0",)
    assert interests.carries(b"$fabric/proxy/p1/") and not interests.carries(b"")


def test_reserved_topics_are_never_coarsened_to_the_empty_prefix() -> None:
    interests = Interests(4)
    for number in range(20):
        interests.hold(f"${number}/a")
    assert b"" not in interests.wire() and interests.stats()["wire"] == 20


def test_a_coarser_prefix_is_held_only_where_it_may_be() -> None:
    def may_hold(prefix: bytes) -> bool:
        return prefix.startswith(b"a/")

    interests = Interests(4, may_hold)
    for number in range(10):
        interests.hold(f"a/{number}")
        interests.hold(f"b/{number}")
    assert b"a/" in interests.wire() and b"b/" not in interests.wire() and b"" not in interests.wire()
    assert all(interests.carries(f"b/{number}\0".encode()) for number in range(10))


def test_counts_are_of_both_and_the_budget_of_each() -> None:
    interests = Interests(8)
    interests.hold("a")
    interests.hold("$x/b")
    stats = interests.stats()
    assert (stats["filters"], stats["wire"], stats["max_prefixes"]) == (2, 2, 8)

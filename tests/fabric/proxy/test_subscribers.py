"""Who subscribes at a proxy: counts, what guests hold, and what a stray cancel took."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol import markers, stray
from fabric.proxy.subscribers import MAX_GUEST_BYTES, Subscribers
from fabric.topics import MAX_TOPIC_BYTES

NODE = markers.node_prefix("a" * 32)
OWN = markers.ack_prefix("b" * 32)


@pytest.fixture
def subscribers() -> Subscribers:
    return Subscribers([OWN])


def test_nodes_are_counted_by_the_prefixes_of_their_own(subscribers: Subscribers) -> None:
    subscribers.heard(b"a/", subscribed=True)
    assert subscribers.nodes == 0
    subscribers.heard(NODE, subscribed=True)
    assert subscribers.nodes == 1
    subscribers.heard(NODE, subscribed=False)
    subscribers.heard(NODE, subscribed=False)
    assert subscribers.nodes == 0, "a stray cancel makes it no less"


def test_what_was_given_up_is_asked_for_once_and_mended_when_it_is_claimed(subscribers: Subscribers) -> None:
    subscribers.heard(b"a/", subscribed=False)
    assert subscribers.take_notices() == [(stray.notice_prefix(b"a/"), b"a/")]
    assert subscribers.take_notices() == []
    assert subscribers.mend() == [], "nobody has claimed it"
    subscribers.claim([b"a/", b"a/", b"b/"])
    assert subscribers.mend() == [b"a/"] and subscribers.mended == 1
    assert subscribers.mend() == [], "once"


def test_what_is_subscribed_to_again_needs_no_mending(subscribers: Subscribers) -> None:
    subscribers.heard(b"a/", subscribed=False)
    subscribers.heard(b"a/", subscribed=True)
    subscribers.claim([b"a/"])
    assert subscribers.mend() == [] and subscribers.mended == 0


def test_the_proxy_claims_its_own(subscribers: Subscribers) -> None:
    subscribers.heard(OWN, subscribed=False)
    assert subscribers.mend() == [OWN]


@pytest.mark.parametrize("prefix", [b"a", b"a/" * (MAX_TOPIC_BYTES // 2 + 2), b"a\0b\0"])
def test_a_cancel_of_what_no_node_holds_is_not_asked_about(subscribers: Subscribers, prefix: bytes) -> None:
    subscribers.heard(prefix, subscribed=False)
    assert subscribers.take_notices() == []


@given(st.lists(st.tuples(st.sampled_from([b"", b"a/", b"b"]), st.booleans()), max_size=30))
def test_the_relay_is_told_of_guests_when_what_they_hold_changes(story: list[tuple[bytes, bool]]) -> None:
    subscribers, held = Subscribers([]), set[bytes]()
    for prefix, subscribed in story:
        before = set(held)
        (held.add if subscribed else held.discard)(prefix)
        assert subscribers.guest_heard(prefix, subscribed=subscribed) == (held != before)


def test_bytes_of_prefixes_are_counted_by_place(subscribers: Subscribers) -> None:
    subscribers.heard(b"a" * 1_000, subscribed=True)
    subscribers.guest_heard(b"b" * 100, subscribed=True)
    assert subscribers.prefix_bytes == {"out": 1_000, "guest": 100}
    subscribers.heard(b"a" * 1_000, subscribed=False)
    subscribers.heard(b"a" * 1_000, subscribed=False)
    subscribers.guest_heard(b"b" * 100, subscribed=False)
    assert subscribers.prefix_bytes == {"out": 0, "guest": 0}, "a stray cancel makes it no less"


def test_what_other_proxies_hold_for_guests_is_bounded(subscribers: Subscribers) -> None:
    """Ten megabytes from one guest; then it cancels, and there is room again."""
    prefixes = [b"%08d" % number + bytes(8_000) for number in range(1_300)]
    told = [prefix for prefix in prefixes if subscribers.guest_heard(prefix, subscribed=True)]
    assert MAX_GUEST_BYTES - 10_000 < sum(map(len, told)) + 100 * len(told) <= MAX_GUEST_BYTES
    assert subscribers.not_relayed == len(prefixes) - len(told) > 0
    cancelled = [prefix for prefix in prefixes if subscribers.guest_heard(prefix, subscribed=False)]
    assert cancelled == told, "what was not told is not taken back"
    assert subscribers.guest_heard(b"a", subscribed=True)

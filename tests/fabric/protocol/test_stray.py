"""Notices, and what is kept to tell a true claim from a false one. With sockets: tests/faults/test_garbage.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import InvalidTopic
from fabric.protocol.stray import GivenUp, notice_prefix
from fabric.topics import subscription_prefixes, validate_topic


@pytest.mark.parametrize(
    ("prefix", "notice"),
    [
        (b"a/b\0", b"a/b\0"),
        (b"a/", b"a/#\0"),
        (b"", b"#\0"),
        (b"$ack/0123", b"$ack/0123#\0"),
    ],
)
def test_a_notice_reaches_who_holds_the_prefix(prefix: bytes, notice: bytes) -> None:
    assert notice_prefix(prefix) == notice
    assert notice.startswith(prefix) and notice.endswith(b"\0")


@pytest.mark.parametrize("prefix", [b"a", b"a\0b", b"a/\0\0", b"\0", b"a\0/"])
def test_what_no_node_holds_gets_no_notice(prefix: bytes) -> None:
    assert notice_prefix(prefix) is None


@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "a/#", "#", "+/b", "a//b", "a/+/c/#"])
def test_every_prefix_of_a_node_gets_one(topic_filter: str) -> None:
    for prefix in subscription_prefixes(topic_filter):
        assert notice_prefix(prefix) is not None


@given(st.text(max_size=20))
def test_a_notice_about_a_group_has_a_topic_that_no_message_can_have(text: str) -> None:
    notice = notice_prefix(text.replace("\0", "").encode() + b"/")
    assert notice is not None
    with pytest.raises(InvalidTopic):
        validate_topic(notice[:-1].decode())


def test_a_claim_counts_once_and_only_for_what_was_given_up() -> None:
    given_up = GivenUp()
    given_up.relay_cancelled(b"a/")
    given_up.relay_cancelled(b"b/")
    assert given_up.claim([b"a/", b"never/", b"a/"]) == [b"a/"]
    assert given_up.claim([b"a/"]) == []
    assert given_up.claim([b"b/"]) == [b"b/"]


def test_each_cancel_is_asked_about_once() -> None:
    given_up = GivenUp()
    for prefix in (b"a/", b"b/", b"c/"):
        given_up.relay_cancelled(prefix)
    given_up.relay_subscribed(b"b/")
    assert given_up.take_unasked() == [b"a/", b"c/"]
    assert given_up.take_unasked() == []
    assert given_up.claim([b"a/", b"b/", b"c/"]) == [b"a/", b"c/"]


def test_what_was_subscribed_again_needs_no_mending() -> None:
    given_up = GivenUp()
    given_up.relay_cancelled(b"a/")
    given_up.relay_subscribed(b"a/")
    given_up.relay_subscribed(b"never/")
    assert given_up.claim([b"a/"]) == [] and len(given_up) == 0


def test_the_oldest_are_forgotten() -> None:
    given_up = GivenUp(max_bytes=10 * 160)
    prefixes = [f"topic/{n:03}/".encode() for n in range(100)]
    for prefix in prefixes:
        given_up.relay_cancelled(prefix)
    assert 5 <= len(given_up) < 11
    assert given_up.claim(prefixes) == prefixes[-10:]


def test_a_prefix_cancelled_again_is_the_newest() -> None:
    given_up = GivenUp(max_bytes=3 * 152)
    for prefix in (b"a/", b"b/", b"c/", b"a/", b"d/"):
        given_up.relay_cancelled(prefix)
    assert given_up.claim([b"a/", b"b/", b"c/", b"d/"]) == [b"a/", b"c/", b"d/"]

"""Retained messages on the wire: what is read back is what was written, and nothing else is read."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.core import retained as core
from fabric.errors import LocalWireError, RemoteWireError
from fabric.protocol.markers import encode_marker
from fabric.protocol.retained import (
    AHEAD_NS,
    MAX_EXPIRES_S,
    TAIL,
    TOMBSTONE_S,
    Batch,
    NotKept,
    Value,
    expires_in,
    held_part,
    may_be_retained,
    read_batch,
    read_not_kept,
    read_value,
    retained_part,
    shown,
    wanted_in_turn,
)
from fabric.sockets import UPSTREAM_BYTES
from fabric.wire import Encoder, decode, encode
from tests.support.payload_strategies import PAYLOADS

EXPIRIES = st.one_of(st.integers(0, 300), st.integers(0, MAX_EXPIRES_S))
HEADERS = st.dictionaries(st.sampled_from(["a", "trace", "reply_to", "zz"]), PAYLOADS, max_size=20)


def part_of(payload: object = 1, expires_s: int = 0, **headers: object) -> bytes:
    return retained_part(Encoder(7), b"a/b\0", 3, 1000, payload, {**headers, "retain": expires_s})


def test_proxies_and_nodes_mean_the_same() -> None:
    assert (AHEAD_NS, TOMBSTONE_S, TAIL) == (core.AHEAD_NS, core.TOMBSTONE_S, core.TAIL)


@given(PAYLOADS, EXPIRIES, HEADERS)
def test_a_retained_message_is_an_ordinary_one_that_ends_in_its_time(
    payload: object, expires_s: int, headers: dict[str, object]
) -> None:
    part = part_of(payload, expires_s, **headers)
    message = decode(part)
    assert (message.topic, message.publisher, message.number, message.sent_ns) == ("a/b", 7, 3, 1000)
    assert message.payload == payload
    assert list(message.headers)[-1] == "retain" and message.headers["retain"] == expires_s
    assert part[-12:] == TAIL + expires_s.to_bytes(4, "big")
    assert read_value(part) == Value(b"a/b", (1000, 7), expires_s, payload is None, is_held=False)


@given(PAYLOADS, EXPIRIES, HEADERS)
def test_what_is_sent_again_differs_only_in_that_it_says_so(
    payload: object, expires_s: int, headers: dict[str, object]
) -> None:
    part = part_of(payload, expires_s, **headers)
    again = held_part(part, 5)
    first, second = decode(part), decode(again)
    assert second[:5] == first[:5]
    assert dict(second.headers) == {**headers, "held": True, "retain": 5}
    assert list(second.headers)[-2:] == ["held", "retain"]
    assert read_value(again) == Value(b"a/b", (1000, 7), 5, payload is None, is_held=True)
    assert held_part(again, 5) == again


@pytest.mark.parametrize("part", [b"a/b", b"a/b\0", encode("a", 1, 1, 1, 1), b"", TAIL + b"1234"])
def test_what_is_not_retained_cannot_be_sent_again(part: bytes) -> None:
    assert read_value(part) is None
    if not part.endswith(b"\x01"):
        with pytest.raises(RemoteWireError):
            held_part(part, 0)


def test_what_only_ends_like_one_is_none() -> None:
    ending = TAIL + (7).to_bytes(4, "big")
    by_chance = encode("a", 1, 1, 1, ending)
    within = b"a\0" + msgpack.packb([1, 1, 1, 1, {"retain": 2**32 - 1}])
    of_a_header = encode("a", 1, 1, 1, 1, {"x": {"retain": 2**32 - 1}})
    other_version = b"a\0" + msgpack.packb([2, 1, 1, 1, 1, {"retain": 2**32 - 1}])
    without_topic = msgpack.packb([1, 1, 1, 1, 1, {"retain": 2**32 - 1}])
    for part in (by_chance, within, of_a_header, other_version, without_topic):
        assert may_be_retained(part)
        assert read_value(part) is None
    assert not may_be_retained(encode("a", 1, 1, 1, 1, {"retain": 0}))


@given(st.binary(max_size=60))
def test_whatever_ends_like_one_is_read_or_not(data: bytes) -> None:
    value = read_value(data + TAIL + b"\0\0\0\1")
    assert value is None or (value.expires_s == 1 and b"\0" not in value.topic)


@pytest.mark.parametrize(
    ("given_s", "seconds"),
    [(None, 0), (1, 1), (0.1, 1), (1.0, 1), (1.5, 2), (3600, 3600), (MAX_EXPIRES_S, MAX_EXPIRES_S)],
)
def test_times_are_whole_seconds_rounded_up(given_s: object, seconds: int) -> None:
    assert expires_in(given_s) == seconds


@pytest.mark.parametrize("given_s", [0, -1, 2**32, float("inf"), float("nan"), "5", True])
def test_other_times_are_refused(given_s: object) -> None:
    with pytest.raises(LocalWireError, match="expires_s"):
        expires_in(given_s)


def test_a_subscriber_sees_that_it_was_retained_and_never_how() -> None:
    headers = {"a": 1, "held": True, "retain": 5}
    assert shown(headers, as_retained=False) == {"a": 1}
    assert shown(headers, as_retained=True) == {"a": 1, "retained": True}


def test_but_for_who_keeps_values() -> None:
    headers = {"a": 1, "held": True, "retain": 5}
    assert shown(headers, as_retained=False, expires_s=4) == {"a": 1, "retain": 4}
    assert shown(headers, as_retained=True, expires_s=0) == {"a": 1, "retained": True, "retain": 0}


# ── asked for, and handed out ────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.lists(st.binary(max_size=2048), min_size=1, max_size=2), max_size=50))
def test_all_that_is_wanted_is_asked_for_and_each_marker_has_room(groups: list[list[bytes]]) -> None:
    chunks = list(wanted_in_turn(groups))
    assert {prefix for chunk in chunks for prefix in chunk} == {prefix for group in groups for prefix in group}
    assert all(any(set(group) <= set(chunk) for chunk in chunks) for group in groups)
    assert all(chunks)
    for chunk in chunks:
        assert len(encode_marker("0" * 40, bytes(16), None, (), chunk)) < UPSTREAM_BYTES


def test_no_marker_is_made_for_each_prefix() -> None:
    assert len(list(wanted_in_turn([b"truck/%d/" % each] for each in range(1000)))) < 20


BATCH = {"nonce": b"n", "index": 0, "last": True, "parts": [b"x"], "ages": [5]}


def test_a_batch_is_read() -> None:
    assert read_batch(BATCH) == Batch(b"n", 0, True, (b"x",), (5,))


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "n"},
        {"index": -1},
        {"index": True},
        {"last": 1},
        {"parts": []},
        {"parts": ["x"]},
        {"ages": [-1]},
        {"ages": [True]},
        {"ages": [float("nan")]},
        {"parts": None},
    ],
)
def test_any_other_batch_is_not_read(change: dict[str, object]) -> None:
    assert read_batch({**BATCH, **change}) is None
    assert read_batch([]) is None


def test_a_publisher_is_told_which_value_and_why() -> None:
    assert read_not_kept({"topic": "t", "sent_ns": 5, "why": "topics"}) == NotKept("t", 5, "topics")


@pytest.mark.parametrize("change", [{"topic": b"t"}, {"sent_ns": -1}, {"sent_ns": True}, {"why": 1}])
def test_other_words_to_a_publisher_are_not_read(change: dict[str, object]) -> None:
    assert read_not_kept({"topic": "t", "sent_ns": 5, "why": "topics", **change}) is None
    assert read_not_kept(None) is None

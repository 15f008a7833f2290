"""The wire: what is encoded is decoded; what may not be sent is refused here, what may not come is refused there.

Whatever the bytes, decoding gives a message or `RemoteWireError`: tried with random bytes, with valid parts changed at
random, and with each trick that is known.
"""

from __future__ import annotations

import copy
import gc
import pickle
import random
import resource
import time
import tracemalloc
from collections import Counter
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import InvalidTopic, LocalWireError, RemoteWireError, ScopeError
from fabric.wire import (
    ENVELOPE_BYTES,
    MAX_CONTROL_BYTES,
    NO_HEADERS,
    Encoder,
    Message,
    decode,
    decode_body,
    decode_control,
    decode_topic,
    encode,
    encode_control,
    message_to_json,
)
from tests.support.payload_strategies import KEYS, NO_PAYLOADS, PAYLOADS, nested, shared_many_times

U64 = 2**64 - 1
GOOD = (1, 5, 1, 0, "payload")
CASES = 30_000


def part(*body: Any, topic: bytes = b"a/b") -> bytes:
    """A part with this array as its body, right or wrong."""
    return bytes(topic + b"\0" + msgpack.packb(body))


def refused(data: bytes, **options: int) -> str:
    """The kind by which `data` is refused; every message ends in words, not in nothing."""
    with pytest.raises(RemoteWireError) as caught:
        decode(data, **options)
    assert str(caught.value)
    return caught.value.kind


# --- there and back


@given(
    st.sampled_from(["a", "a/b", "/", "é/ü", "$fabric/x", "~pagesession/h/s/x", "~pagesession", "a/~", " "]),
    st.integers(0, U64),
    st.integers(1, U64),
    st.integers(0, U64),
    PAYLOADS,
    st.dictionaries(KEYS, PAYLOADS, max_size=2),
)
def test_there_and_back(
    topic: str, publisher: int, number: int, sent_ns: int, payload: Any, headers: dict[str, Any]
) -> None:
    data = encode(topic, publisher, number, sent_ns, payload, headers)
    message = decode(data)
    assert message == Message(topic, payload, publisher, number, sent_ns, headers)
    assert repr(message.payload) == repr(payload)
    assert data.startswith(topic.encode() + b"\0")
    again = Encoder(publisher)
    assert again.part(again.prefix(topic), number, sent_ns, payload, headers) == data


def test_the_form_on_the_wire() -> None:
    assert encode("a/b", 5, 1, 0, "hi") == b"a/b\0\x95\x01\x05\x01\x00\xa2hi"
    assert encode("a", 5, 1, 0, None, {"id": 7}) == b"a\0\x96\x01\x05\x01\x00\xc0\x81\xa2id\x07"
    assert encode("a", 5, 1, 0, (1, bytearray(b"x"))) == b"a\0\x95\x01\x05\x01\x00\x92\x01\xc4\x01x"
    assert encode("a", 5, 1, 0, 1, {}) == encode("a", 5, 1, 0, 1)


def test_longer_forms_of_the_same_values_are_read_too() -> None:
    body = b"\xdd\0\0\0\x05" + b"\xd3" + bytes(7) + b"\x01" + b"\xcc\x05" + b"\xcd\0\x01" + b"\xd0\0" + b"\xd9\x02hi"
    assert decode(b"a\0" + body) == Message("a", "hi", 5, 1, 0)


def test_a_message_is_immutable_and_travels() -> None:
    plain, with_headers = decode(encode("a", 5, 1, 0, [1])), decode(encode("a", 5, 1, 0, [1], {"id": 7}))
    assert plain.headers is NO_HEADERS
    for message in (plain, with_headers):
        with pytest.raises(AttributeError):
            message.topic = "b"  # type: ignore[misc]
        with pytest.raises(TypeError):
            message.headers["id"] = 8  # type: ignore[index]
        for again in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
            assert again == message
            assert type(again) is Message
            assert type(again.headers) is type(NO_HEADERS)
    assert pickle.loads(pickle.dumps(plain)).headers is NO_HEADERS


def test_a_message_as_json_keeps_large_numbers_as_strings() -> None:
    message = decode(encode("a", U64, 7, 1_700_000_000_000_000_001, {"raw": b"x"}))
    assert message_to_json(message) == {
        "topic": "a",
        "payload": {"raw": {"$bin": "eA=="}},
        "publisher": "18446744073709551615",
        "number": 7,
        "sent_ns": "1700000000000000001",
    }
    assert message_to_json(decode(encode("a", 1, 1, 1, 1, {"id": b"x"})))["headers"] == {"id": {"$bin": "eA=="}}


# --- what may not be sent


@pytest.mark.parametrize("topic", ["~", "~/", "~/a", "~other/a", "~pagesessions/a"])
def test_local_topics_are_never_encoded(topic: str) -> None:
    with pytest.raises(ScopeError):
        encode(topic, 5, 1, 0, "x")
    with pytest.raises(ScopeError):
        Encoder(5).prefix(topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b", "\ud800", "x" * 65_536, "/" * 201])
def test_bad_topics_are_never_encoded(topic: str) -> None:
    with pytest.raises(InvalidTopic):
        encode(topic, 5, 1, 0, "x")


@pytest.mark.parametrize("bad", [*NO_PAYLOADS.values(), 2**64, -(2**63) - 1, "\ud800", shared_many_times()])
def test_what_is_no_payload_is_not_sent_and_spoils_nothing(bad: Any) -> None:
    encoder = Encoder(5, 100_000)
    prefix = encoder.prefix("a")
    for attempt in (bad, [1, "x", bad], {"k": bad}):
        with pytest.raises(LocalWireError):
            encoder.part(prefix, 1, 0, attempt)
        with pytest.raises(LocalWireError):
            encoder.part(prefix, 1, 0, 1, {"k": attempt})
        with pytest.raises(LocalWireError):
            encode_control("k", attempt)
    assert decode(encoder.part(prefix, 1, 0, "good")).payload == "good"


@pytest.mark.parametrize("key", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_in_a_key_is_refused(key: str) -> None:
    with pytest.raises(LocalWireError, match="surrogate"):
        encode("a", 5, 1, 0, {key: 1})


@pytest.mark.parametrize(
    ("publisher", "number", "sent_ns"),
    [
        (-1, 1, 0),
        (U64 + 1, 1, 0),
        (5, 0, 0),
        (5, -1, 0),
        (5, U64 + 1, 0),
        (5, 1, -1),
        (5, 1, 0.5),
        (True, 1, 0),
        ("5", 1, 0),
    ],
)
def test_ids_and_numbers_out_of_range_are_refused(publisher: Any, number: Any, sent_ns: Any) -> None:
    with pytest.raises(LocalWireError, match="expected an int from"):
        encode("a", publisher, number, sent_ns, "x")


def test_headers_must_be_a_map() -> None:
    with pytest.raises(LocalWireError, match="expected a dict"):
        encode("a", 5, 1, 0, "x", [("id", 1)])  # type: ignore[arg-type]
    with pytest.raises(LocalWireError, match="expected a str, not"):
        encode("a", 5, 1, 0, "x", {1: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize("unit", ["x", b"x"], ids=["str", "bin"])
@pytest.mark.parametrize("limit", [0, 10, 300, 70_000])
def test_a_payload_of_exactly_the_limit_fits_at_both_ends(unit: Any, limit: int) -> None:
    data = encode("a", U64, U64, U64, unit * limit, max_payload_bytes=limit)
    assert decode(data, max_payload_bytes=limit).payload == unit * limit
    with pytest.raises(LocalWireError):
        encode("a", U64, U64, U64, unit * (limit + 1), max_payload_bytes=limit)
    larger = encode("a", U64, U64, U64, unit * (limit + ENVELOPE_BYTES))
    assert refused(larger, max_payload_bytes=limit) == "too_large"


@given(PAYLOADS, st.integers(0, 60))
def test_what_one_end_sends_the_other_takes(payload: Any, limit: int) -> None:
    try:
        data = encode("a", 5, 1, 0, payload, {"id": payload}, max_payload_bytes=limit)
    except LocalWireError:
        return
    assert decode(data, max_payload_bytes=limit).payload == payload


def test_headers_count_towards_the_limit() -> None:
    with pytest.raises(LocalWireError, match="send less"):
        encode("a", 5, 1, 0, "x" * 90, {"trace": "x" * 90}, max_payload_bytes=100)


# --- what may not come


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("no_topic", b""),
        ("no_topic", b"a/b"),
        ("bad_topic", part(*GOOD, topic=b"")),
        ("bad_topic", part(*GOOD, topic=b"\xff")),
        ("bad_topic", part(*GOOD, topic=b"\xed\xa0\x80")),  # a surrogate, as UTF-8 that is none
        ("bad_topic", part(*GOOD, topic=b"a/+")),
        ("bad_topic", part(*GOOD, topic=b"a/#/b")),
        ("bad_topic", part(*GOOD, topic=b"x" * 65_536)),
        ("bad_topic", part(*GOOD, topic=b"/" * 201)),
        ("local_scope", part(*GOOD, topic=b"~")),
        ("local_scope", part(*GOOD, topic=b"~/a")),
        ("local_scope", part(*GOOD, topic=b"~other/a")),
        ("local_scope", part(*GOOD, topic=b"~pagesessions/a")),
        ("local_scope", b"~/a\0garbage"),
        ("bad_body", b"a\0"),
        ("bad_body", b"a\0\xc1"),
        ("bad_body", b"a\0hello"),
        ("bad_body", part(*GOOD)[:-1]),
        ("bad_body", part(*GOOD) + b"\0"),
        ("bad_body", part(*GOOD) + part(*GOOD)),
        ("bad_body", part()),
        ("bad_body", part(1)),
        ("bad_body", part(*GOOD[:4])),
        ("bad_body", part(*GOOD, {}, 7)),
        ("bad_body", part(*GOOD, None)),
        ("bad_body", part(*GOOD, [])),
        ("bad_body", part(True, *GOOD[1:])),
        ("bad_body", part(1.0, *GOOD[1:])),
        ("bad_body", part("1", *GOOD[1:])),
        ("bad_body", part(1, True, 1, 0, 0)),
        ("bad_body", part(1, 5, True, 0, 0)),
        ("bad_body", part(1, 5, 1, False, 0)),
        ("bad_body", part(1, 5.0, 1, 0, 0)),
        ("bad_body", part(1, "5", 1, 0, 0)),
        ("bad_body", part(1, None, 1, 0, 0)),
        ("bad_body", part(1, -1, 1, 0, 0)),
        ("bad_body", part(1, 5, 0, 0, 0)),
        ("bad_body", part(1, 5, -1, 0, 0)),
        ("bad_body", part(1, 5, 1, -1, 0)),
        ("bad_body", part(1, [], 1, 0, 0)),
        ("bad_body", b"a\0" + msgpack.packb("12345")),
        ("bad_body", b"a\0" + msgpack.packb({str(n): 1 for n in range(5)})),
        ("bad_body", b"a\0" + msgpack.packb(1)),
        ("version", part(2, *GOOD[1:])),
        ("version", part(0, *GOOD[1:])),
        ("version", part(-1, *GOOD[1:])),
        ("version", part(2)),
        ("version", part(2, "all", "other", "than", "now", "is", "it")),
        ("version", part(2, *GOOD[1:], {1: 1})),
        ("version", part(2, msgpack.ExtType(5, b"x"))),
        ("version", b"a\0\x92\x02\xc1"),
        ("version", part(2**64 - 1, *GOOD[1:])),
        ("bad_payload", part(1, 5, 1, 0, msgpack.ExtType(5, b"x"))),
        ("bad_payload", part(1, 5, 1, 0, [msgpack.ExtType(5, b"x")])),
        ("bad_payload", part(1, 5, 1, 0, msgpack.Timestamp(1, 1))),
        ("bad_payload", part(1, 5, 1, 0, {"t": [msgpack.Timestamp(1, 1)]})),
        ("bad_payload", b"a\0\x95\x01\x05\x01\x00" + b"\xc7\x05\xffhello"),  # a timestamp of a wrong length
        ("bad_payload", part(1, 5, 1, 0, {1: 1})),
        ("bad_payload", part(1, 5, 1, 0, {b"k": 1})),
        ("bad_payload", part(1, 5, 1, 0, [{"k": {b"k": 1}}])),
        ("bad_payload", part(1, 5, 1, 0, {None: 1})),
        ("bad_payload", b"a\0\x95\x01\x05\x01\x00" + b"\x81\x90\x01"),  # a list as key
        ("bad_payload", b"a\0\x95\x01\x05\x01\x00" + b"\xa1\xff"),
        ("bad_payload", b"a\0\x95\x01\x05\x01\x00" + b"\xa3\xed\xa0\x80"),
        ("bad_payload", part(1, 5, 1, 0, nested(65))),
        ("bad_payload", part(1, 5, 1, 0, nested(400))),
        ("bad_payload", part(*GOOD, {b"id": 1})),
        ("bad_payload", part(*GOOD, {"id": msgpack.Timestamp(1, 1)})),
        ("bad_payload", part(*GOOD, {"id": nested(64)})),
        ("bad_body", b"a\0\x95\x01\x05\x01\x00" + b"\x91" * 100_000 + b"\x01"),
        ("bad_body", b"a\0" + b"\x81" * 100_000),
        ("bad_body", b"a\0\xdd\xff\xff\xff\xff"),
        ("bad_body", b"a\0\xdf\xff\xff\xff\xff"),
        ("bad_body", b"a\0\xc6\xff\xff\xff\xff"),
        ("bad_body", b"a\0\xdb\xff\xff\xff\xff"),
        ("bad_body", b"a\0\xc9\xff\xff\xff\xff\x05"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_may_not_come_is_refused_by_its_kind(kind: str, data: bytes) -> None:
    assert refused(data) == kind


def test_every_cut_of_a_part_is_refused() -> None:
    whole = encode("a/b", U64, 300, 10**18, {"k": ["x" * 300, 1.5, b"x" * 20]}, {"id": 7})
    assert decode(whole)
    kinds = Counter(refused(whole[:end]) for end in range(len(whole)))
    assert kinds == {"no_topic": len("a/b") + 1, "bad_body": len(whole) - len("a/b") - 1}


@pytest.mark.parametrize(("size", "times"), [(200, 1000), (4_000, 100), (8 * 1024 * 1024, 1)])
def test_declared_lengths_cost_neither_memory_nor_time(size: int, times: int) -> None:
    heads = (b"\xdd" + (size - 100).to_bytes(4, "big")) * min(size // 10, 1000)
    data = b"a\0" + (b"\x95\x01\x05\x01\x00" + heads).ljust(size, b"\0")
    before_kib, before_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for _ in range(times):
        assert refused(data) == "bad_body"
    assert time.process_time() - before_s < 0.4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.mark.parametrize("end", [b"", b"\xc1", b"\xa1\xff", b"\xd4\x05\x00", b"\x81\x01\x01"], ids=repr)
@pytest.mark.parametrize("size", [100, 1000])
def test_refusing_leaves_nothing_behind(end: bytes, size: int) -> None:
    # msgpack before 1.2.1 loses what it has built when it fails within nested arrays: 8 kB for each of these parts.
    data = b"a\0\x95\x01\x05\x01\x00" + b"\x92\xa5hello" * (size // 7) + end
    refused(data)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(100):
        refused(data)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000


def test_the_deepest_payload_passes() -> None:
    assert decode(encode("a", 5, 1, 0, nested(64), {"id": nested(63)})).payload == nested(64)


def test_the_halves_are_what_a_node_uses() -> None:
    topic, _, body = encode("a/b", 5, 6, 7, "x").partition(b"\0")
    assert decode_topic(topic) == "a/b"
    assert decode_body(body) == decode_body(memoryview(body)) == (5, 6, 7, "x", None)
    assert decode_body(encode("a", 5, 6, 7, "x", {"id": 1})[2:], 100) == (5, 6, 7, "x", {"id": 1})
    with pytest.raises(RemoteWireError, match="at most 10"):
        decode_body(b"x" * 200, 10)


# --- whatever the bytes


def outcome(data: bytes) -> str:
    try:
        message = decode(data, max_payload_bytes=10_000)
    except RemoteWireError as error:
        return error.kind
    headers = dict(message.headers) or None
    again = encode(*message[:1], *message[2:5], message.payload, headers, max_payload_bytes=20_000)
    assert repr(decode(again)) == repr(message)  # by repr: NaN is not equal to itself
    return "message"


def test_random_bytes() -> None:
    rng = random.Random(1)
    starts = (b"", b"a\0", b"a\0\x95", b"a\0\x95\x01\x05\x01\x00", b"a\0\x96\x01\x05\x01\x00\xc0")
    outcomes = Counter(outcome(rng.choice(starts) + rng.randbytes(rng.randrange(40))) for _ in range(CASES))
    assert set(outcomes) >= {"message", "no_topic", "bad_topic", "bad_body", "version", "bad_payload"}


def test_valid_parts_changed_at_random() -> None:
    rng = random.Random(2)
    payloads = [7, "text é", b"\0\xff", {"k": [1, 2.5, None, {"n": -1}]}, [True] * 20, nested(60), ["x" * 300]]
    valid = [
        encode(t, rng.getrandbits(64), 1, 10**18, p, h)
        for t in ("a", "é/b")
        for p in payloads
        for h in (None, {"id": 1})
    ]
    outcomes: Counter[str] = Counter()
    for _ in range(CASES):
        data = bytearray(rng.choice(valid))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at] ^= 1 << rng.randrange(8)
                case 2:
                    data[at:at] = rng.randbytes(rng.randrange(1, 6))
                case _:
                    del data[at : at + rng.randrange(1, 4)]
            if not data:
                break
        outcomes[outcome(bytes(data))] += 1
    assert set(outcomes) >= {"message", "no_topic", "bad_topic", "bad_body", "version", "bad_payload"}


# --- control parts


@given(st.text(min_size=1, max_size=8), st.lists(PAYLOADS, max_size=4))
def test_control_parts_there_and_back(kind: str, fields: list[Any]) -> None:
    data = encode_control(kind, *fields)
    assert data[0] == 2
    assert decode_control(data) == (kind, tuple(fields))


def test_control_parts_nest_as_deep_as_payloads() -> None:
    assert decode_control(encode_control("k", nested(64))) == ("k", (nested(64),))


def test_control_parts_end_at_one_mebibyte() -> None:
    largest = MAX_CONTROL_BYTES - len(encode_control("k", b"x" * 70_000)) + 70_000
    assert len(encode_control("k", b"x" * largest)) == MAX_CONTROL_BYTES
    for size in (largest + 1, 2 * MAX_CONTROL_BYTES):
        with pytest.raises(LocalWireError, match="send less"):
            encode_control("k", b"x" * size)
    with pytest.raises(RemoteWireError) as caught:
        decode_control(b"\x02" + msgpack.packb([1, "k", b"x" * MAX_CONTROL_BYTES]))
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("kind", ["", None, 7, b"k", "\ud800"])
def test_a_control_part_names_its_kind(kind: Any) -> None:
    with pytest.raises(LocalWireError):
        encode_control(kind)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("not_control", b""),
        ("not_control", b"\x01a"),
        ("not_control", encode("a", 5, 1, 0, 1)),
        ("bad_body", b"\x02"),
        ("bad_body", b"\x02\x91"),
        ("bad_body", b"\x02" + msgpack.packb([])),
        ("bad_body", b"\x02" + msgpack.packb([1])),
        ("bad_body", b"\x02" + msgpack.packb([1, 7])),
        ("bad_body", b"\x02" + msgpack.packb([1, ""])),
        ("bad_body", b"\x02" + msgpack.packb([1, b"k"])),
        ("bad_body", b"\x02" + msgpack.packb([True, "k"])),
        ("bad_body", b"\x02" + msgpack.packb({"a": 1})),
        ("bad_body", b"\x02" + msgpack.packb("kk")),
        ("bad_body", encode_control("k") + b"\0"),
        ("version", b"\x02" + msgpack.packb([2, "k"])),
        ("version", b"\x02" + msgpack.packb([2])),
        ("bad_payload", b"\x02" + msgpack.packb([1, "k", {1: 1}])),
        ("bad_payload", b"\x02" + msgpack.packb([1, "k", msgpack.Timestamp(1, 1)])),
        ("bad_payload", b"\x02" + msgpack.packb([1, "k", msgpack.ExtType(1, b"")])),
        ("bad_payload", b"\x02" + msgpack.packb([1, "k", nested(65)])),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bad_control_parts_are_refused_by_their_kind(kind: str, data: bytes) -> None:
    with pytest.raises(RemoteWireError) as caught:
        decode_control(data)
    assert caught.value.kind == kind


def test_random_control_parts() -> None:
    rng = random.Random(3)
    outcomes: Counter[str] = Counter()
    for _ in range(CASES // 3):
        data = rng.choice((b"\x02", b"\x02\x93\x01\xa1k")) + rng.randbytes(rng.randrange(30))
        try:
            kind, fields = decode_control(data)
        except RemoteWireError as error:
            outcomes[error.kind] += 1
        else:
            outcomes["control"] += 1
            assert repr(decode_control(encode_control(kind, *fields))) == repr((kind, fields))
    assert set(outcomes) >= {"control", "bad_body", "bad_payload"}

"""Retained messages: how one is marked, kept, asked for and handed out. Pure.

    a retained message   headers end with `retain`: seconds until it expires, 0: never; payload nil clears the topic
    one sent again       the same with `held: true` in front: so that another proxy keeps it; publisher and number stay
    asked for            by a marker, with the prefixes that are wanted
    a batch              `$ack/<token>/t`, payload {nonce, index, last, parts, ages}: in front of the marker's
                         answer, on the same way. At most 64 KiB of parts, or one part alone. The last one says so, and
                         is sent though nothing matches. ages: seconds for which each part has been kept
    not kept             `$ack/<publisher, 16 hexadecimal digits>/k`, payload {topic, sent_ns, why}: to a publisher

`retain` is the last of the headers and always an uint32, so that a part ends with `TAIL` and four bytes: a proxy knows
by one comparison that a part is not retained. Of two values the one with the larger *stamp*, (sent_ns, publisher), is
the newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fabric.errors import LocalWireError, RemoteWireError, expected
from fabric.protocol.markers import MAX_WANTED_BYTES
from fabric.wire import DEFAULT_MAX_PAYLOAD_BYTES, ENVELOPE_BYTES, Encoder, decode_body, no_topic

RETAIN, HELD, RETAINED = "retain", "held", "retained"
"""Names of headers: of what is to be kept; of what is sent again for that alone; and, at a subscriber, of what was."""
OWN = frozenset((RETAIN, HELD, RETAINED))
_ONLY_RETAINED: Mapping[str, Any] = MappingProxyType({RETAINED: True})
TAIL = b"\xa6retain\xce"
"""What a retained message ends with, but for the four bytes behind it."""
MAX_EXPIRES_S = 2**32 - 1
"""136 years."""
TOMBSTONE_S = 180.0
"""For so long it is known that a value was cleared, or has expired: clocks may differ by a minute, and what was on its
way may come after it."""
AHEAD_NS = 60 * 10**9
"""A value that was set so far ahead of the clock here, or less, counts. Nothing could take the place of others."""
BATCH_BYTES = 64 * 1024 + 1024
"""A batch is larger than the largest part that it may hold, by at most so much."""

Stamp = tuple[int, int]
"""(sent_ns, publisher): of two values of a topic the larger one is the newer."""


class Value(NamedTuple):
    """A retained message, as far as a keeper needs to know it.

    topic:     raw, without its NUL
    stamp:     which of two values is the newer
    expires_s: after so many seconds it is no more; 0: never
    is_clear:  it has no payload: there is no value from now on
    is_held:   it was sent before
    """

    topic: bytes
    stamp: Stamp
    expires_s: int
    is_clear: bool
    is_held: bool


class Batch(NamedTuple):
    """Some of what a proxy keeps and a marker wants. `parts` and `ages`, in seconds, are of one length.

    place: which of its proxy's batches for this marker, from 0
    """

    nonce: bytes
    place: int
    last: bool
    parts: tuple[bytes, ...]
    ages: tuple[float, ...]


# ── a retained message ───────────────────────────────────────────────────────────────────────────────────────────────


def expires_in(expires_s: object) -> int:
    """Return the seconds to send for what a user gave: whole ones, rounded up; 0 for None.

    errors: LocalWireError for what is no number above 0, or more than 136 years
    """
    if expires_s is None:
        return 0
    if type(expires_s) not in (int, float) or not 0 < expires_s <= MAX_EXPIRES_S:  # type: ignore[operator]
        raise LocalWireError(expected("expires_s", expires_s, f"seconds, above 0 and at most {MAX_EXPIRES_S}"))
    return -int(-expires_s // 1)  # type: ignore[operator]


def kept_for(retain: bool, expires_s: float | None) -> int | None:
    """Return for how many seconds a message is to be retained, 0: for good; None: it is not.

    errors: LocalWireError for a time that is none, or that would end nothing
    """
    if retain:
        return expires_in(expires_s)
    if expires_s is not None:
        raise LocalWireError(expected("expires_s", expires_s, "None without retain=True: nothing else expires"))
    return None


def retained_part(
    encoder: Encoder, prefix: bytes, number: int, sent_ns: int, payload: Any, headers: Mapping[str, Any]
) -> bytes:
    """Return one part, as `Encoder.part` does, of a message whose headers have `retain`.

    errors: LocalWireError when payload or headers are not what the format allows, or too large
    """
    expires_s: int = headers[RETAIN]
    others = {name: value for name, value in headers.items() if name != RETAIN}
    # A packer takes as few bytes as will do. The largest uint32 needs all, and then gives way to what is meant.
    part = encoder.part(prefix, number, sent_ns, payload, {**others, RETAIN: MAX_EXPIRES_S})
    return part[:-4] + expires_s.to_bytes(4, "big")


def may_be_retained(part: bytes) -> bool:
    """Whether this ends as a retained message does. It may be chance: `read_value` knows."""
    return part[-12:-4] == TAIL


def read_value(part: bytes, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> Value | None:
    """Read what may be a retained message; None for any other part. Input from a peer never raises."""
    if not may_be_retained(part):
        return None
    topic, nul, body = part.partition(b"\0")
    try:
        publisher, _, sent_ns, payload, headers = decode_body(body, max_payload_bytes)
    except RemoteWireError:
        return None
    if not nul or headers is None or not _ends_with_retain(headers, part):
        return None
    return Value(topic, (sent_ns, publisher), headers[RETAIN], payload is None, headers.get(HELD) is True)


def _ends_with_retain(headers: Mapping[str, Any], part: bytes) -> bool:
    return list(headers)[-1] == RETAIN and bool(headers[RETAIN] == int.from_bytes(part[-4:], "big"))


def held_part(part: bytes, expires_s: int, *, is_clear: bool = False) -> bytes:
    """Return the same message as it is sent again, to be kept by another proxy.

    part:      a retained message that was sent
    expires_s: what is left of its time now; 0: it never expires
    is_clear:  without its payload, because its time is up
    errors:    RemoteWireError for what is no part
    """
    raw, nul, body = part.partition(b"\0")
    if not nul:
        raise no_topic(part)
    publisher, number, sent_ns, payload, headers = decode_body(body, len(part))
    again = {**(headers or {}), HELD: True, RETAIN: expires_s}
    again[RETAIN] = again.pop(RETAIN)  # it comes last
    encoder = Encoder(publisher, 2 * len(part) + ENVELOPE_BYTES)
    return retained_part(encoder, raw + nul, number, sent_ns, None if is_clear else payload, again)


def shown(headers: Mapping[str, Any], *, as_retained: bool, expires_s: int | None = None) -> Mapping[str, Any]:
    """Return the headers as a subscriber sees them: how a message is kept is not shown; that it was, is.

    expires_s: show `retain`, too, with what is left of its time; 0: it never expires
    """
    if expires_s is not None:
        return MappingProxyType({**shown(headers, as_retained=as_retained), RETAIN: expires_s})
    if len(headers) == 1 and as_retained:
        return _ONLY_RETAINED if OWN.issuperset(headers) else MappingProxyType({**headers, RETAINED: True})
    seen = {name: value for name, value in headers.items() if name not in OWN}
    return MappingProxyType({**seen, RETAINED: True} if as_retained else seen)


# ── asked for, and handed out ────────────────────────────────────────────────────────────────────────────────────────


def wanted_in_turn(groups: Iterable[Sequence[bytes]]) -> Iterator[list[bytes]]:
    """Yield the prefixes that are wanted, as many at a time as one marker has room for.

    groups: each of at most 4 KiB; what is in one stays together, so that one marker asks for all of a filter
    """
    chunk: dict[bytes, None] = {}
    size = 0
    for group in groups:
        if chunk and size >= MAX_WANTED_BYTES:
            yield list(chunk)
            chunk, size = {}, 0
        size += sum(len(prefix) + 3 for prefix in group if prefix not in chunk)
        chunk.update(dict.fromkeys(group))
    if chunk:
        yield list(chunk)


def read_batch(payload: object) -> Batch | None:
    """Read the payload of a batch; None for anything else. Input from a peer never raises."""
    if not isinstance(payload, dict):
        return None
    nonce, index, last = payload.get("nonce"), payload.get("index"), payload.get("last")
    if not (isinstance(nonce, bytes) and type(last) is bool):
        return None
    if type(index) is not int or index < 0:
        return None
    parts, ages = payload.get("parts"), payload.get("ages")
    if not (isinstance(parts, list) and isinstance(ages, list) and len(parts) == len(ages)):
        return None
    if not all(isinstance(part, bytes) for part in parts):
        return None
    if not all(type(age) in (int, float) and age >= 0 for age in ages):
        return None
    return Batch(nonce, index, last, tuple(parts), tuple(ages))


# ── to a publisher ───────────────────────────────────────────────────────────────────────────────────────────────────


class NotKept(NamedTuple):
    """A proxy's word to a publisher: a value that it set is not kept, or no longer.

    topic:   of the value
    sent_ns: of this value, or of the newer one
    why:     `topics` or `bytes`: over that bound of the proxy; `newer`: there is a newer value, of another publisher;
             `clock`: its time is too far ahead of the proxy's clock
    """

    topic: str
    sent_ns: int
    why: str


def read_not_kept(payload: object) -> NotKept | None:
    """Read what a publisher is told; None for anything else. Input from a peer never raises."""
    if not isinstance(payload, dict):
        return None
    topic, sent_ns, why = payload.get("topic"), payload.get("sent_ns"), payload.get("why")
    if not (isinstance(topic, str) and type(sent_ns) is int and sent_ns >= 0 and isinstance(why, str)):
        return None
    return NotKept(topic, sent_ns, why)

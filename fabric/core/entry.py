"""What may enter a proxy, and which markers the switch answers by itself: the specification. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgpack  # type: ignore[import-untyped]

from fabric.errors import RemoteWireError
from fabric.wire import CONTROL_BYTE, decode_topic

SYSTEM = (b"$fabric/service/", b"$fabric/who/", b"$inbox/", b"$repair/", b"$site_connect/")
"""Where publishers may send though it begins with `$`; and watermarks, questions, and what somebody lost, see
`_may_be_published`."""
WHO = b"$fabric/who"
ASK, PROXY = b"/ask", b"$fabric/proxy/"
"""Questions to the nodes of a proxy: `PROXY`, its id, `ASK`. What a proxy says of itself, on `PROXY` and its id, comes
from itself alone, or by a link."""
_REMEMBERED_BYTES = 256
"""Verdicts on longer topics are not kept."""

_ARRAYS = tuple(bytes([first]) for first in range(0x90, 0xA0))
"""What stands behind the first byte of a control part: the head of a short array, as msgpack has it."""

_PLAIN, _WANTING = b"\x02\x95\x01\xa6marker", b"\x02\x97\x01\xa6marker"
"""What `protocol.markers.encode_marker` writes for a node without claims begins with: of a marker that wants nothing,
and of one that wants retained values. Any other marker goes to the control thread."""
_TOKEN = re.compile(rb"[0-9A-Za-z-]{1,100}")


class Marker(NamedTuple):
    """A marker that the switch answers by itself.

    wanted:    prefixes whose retained values are wanted; None: it wants nothing
    wanted_at: where their array stands in the part
    """

    token: bytes
    nonce: bytes
    wanted: tuple[bytes, ...] | None = None
    wanted_at: int = 0


def refusal(part: bytes, max_body_bytes: int) -> str | None:
    """Return why a publisher's part may not enter, one of `steering.KINDS`; None when it may.

    max_body_bytes: of what stands behind the topic and its NUL
    """
    raw, nul, body = part.partition(b"\0")
    if not nul:
        return "no_topic"
    verdict = _remembered(raw) if len(raw) <= _REMEMBERED_BYTES else _judge(raw)
    if verdict is None and len(body) > max_body_bytes:
        return "too_large"
    return verdict


def is_control(prefix: bytes) -> bool:
    """Whether what was subscribed to is a control part: no topic begins so, for it is not UTF-8."""
    return prefix[:1] == CONTROL_BYTE and prefix[1:2] in _ARRAYS


def read_marker(part: bytes) -> Marker | None:
    """Return a marker that carries no news; None for every other part."""
    if not part.startswith((_PLAIN, _WANTING)):
        return None
    token, at = _short(part, len(_PLAIN))
    if not _TOKEN.fullmatch(token) or part[at : at + 1] != b"\xc4" or part[at + 1 : at + 2] > b"\x40":
        return None
    nonce, at = _bin(part, at)
    if part[at : at + 1] != b"\xc0":
        return None
    if part[1] == _PLAIN[1]:
        return Marker(token, nonce) if at + 1 == len(part) else None
    wanted = _bins(part, at + 2) if part[at + 1 : at + 2] == b"\x90" else None
    return None if wanted is None else Marker(token, nonce, wanted, at + 2)


def with_wanted(part: bytes, at: int, wanted: Sequence[bytes]) -> bytes:
    """Return a marker that wants these prefixes only. at: `Marker.wanted_at`"""
    packed: bytes = msgpack.packb(list(wanted))
    return part[:at] + packed


def _short(part: bytes, at: int) -> tuple[bytes, int]:
    """Return a string of at most 100 bytes, and where it ends; an empty one for anything else."""
    first, second = part[at : at + 1], part[at + 1 : at + 2]
    if b"\xa1" <= first <= b"\xbf":
        start, size = at + 1, first[0] & 0x1F
    elif first == b"\xd9" and b"\x20" <= second <= b"\x64":
        start, size = at + 2, second[0]
    else:
        return b"", at
    return part[start : start + size], start + size


def _bins(part: bytes, at: int) -> tuple[bytes, ...] | None:
    """Return the bins of an array with which a part ends."""
    first = part[at : at + 1]
    if b"\x90" <= first <= b"\x9f":
        count, at = first[0] & 0x0F, at + 1
    elif first == b"\xdc":
        count, at = int.from_bytes(part[at + 1 : at + 3], "big"), at + 3
    else:
        return None
    found = []
    for _ in range(count):
        if at >= len(part):
            return None
        each, at = _bin(part, at)
        found.append(each)
    return tuple(found) if at == len(part) else None


def _bin(part: bytes, at: int) -> tuple[bytes, int]:
    """Return a bin, and where it ends: behind the end of the part for anything else."""
    sizes = {0xC4: 1, 0xC5: 2}
    size = sizes.get(part[at]) if at < len(part) else None
    if size is None:
        return b"", len(part) + 1
    start = at + 1 + size
    end = start + int.from_bytes(part[at + 1 : start], "big")
    return (part[start:end], end) if start <= len(part) else (b"", len(part) + 1)


def _judge(raw: bytes) -> str | None:
    try:
        decode_topic(raw)
    except RemoteWireError as error:
        return error.kind
    return "system" if raw.startswith(b"$") and not _may_be_published(raw) else None


_remembered = lru_cache(4096)(_judge)


def _may_be_published(raw: bytes) -> bool:
    """Answers and announcements come from proxies; a bell never leaves its node."""
    if raw.startswith(PROXY):
        return raw.endswith(ASK, len(PROXY))
    return raw == WHO or raw.startswith(SYSTEM) or (raw.startswith(b"$ack/") and raw.endswith((b"/w", b"/q", b"/p")))

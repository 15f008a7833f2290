"""What may enter a proxy, and which markers the switch answers by itself: the specification. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

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

# What `protocol.markers.encode_marker` writes for a node without claims; any other marker goes to the control thread.
_PLAIN_MARKER = re.compile(
    rb"\x02\x95\x01\xa6marker"
    rb"(?:[\xa1-\xbf]|\xd9[\x20-\x64])([0-9A-Za-z-]{1,100})"
    rb"\xc4[\x00-\x40](.{0,64})\xc0",
    re.DOTALL,
)


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


def read_plain_marker(part: bytes) -> tuple[bytes, bytes] | None:
    """Return (token, nonce) of a marker that carries no news; None for every other part."""
    found = _PLAIN_MARKER.fullmatch(part)
    if found is None:
        return None
    token, nonce = found[1], found[2]
    told_token = part[10] & 0x1F if part[10] != 0xD9 else part[11]
    told_nonce = part[found.start(2) - 1]
    return (token, nonce) if (told_token, told_nonce) == (len(token), len(nonce)) else None


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

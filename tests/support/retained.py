"""Parts of retained messages, as a publisher's node makes them."""

from __future__ import annotations

import struct
from typing import Any

from fabric.core.retained import TAIL
from fabric.wire import encode


def retained_part(
    topic: str,
    publisher: int,
    sent_ns: int,
    payload: Any,
    *,
    number: int = 1,
    expires_s: int = 0,
    headers: dict[str, Any] | None = None,
) -> bytes:
    """A part that sets the last value of its topic, or clears it: payload None. expires_s: 0: never"""
    # The packer takes the fewest bytes for an int; the last header is to have four.
    part = encode(
        topic, publisher, number, sent_ns, payload, {**(headers or {}), "retain": 0}, max_payload_bytes=1 << 24
    )
    assert part.endswith(TAIL[:-1] + b"\0")
    return part[:-1] + TAIL[-1:] + struct.pack(">I", expires_s)

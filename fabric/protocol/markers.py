"""What proxies and nodes say to each other beside the streams: markers upstream, answers and announcements down. Pure.

marker        upstream, a control part `["marker", token, nonce, sender, claims]`: token is the asking incarnation,
              sender a proxy's record, or nil when a node asks; claims, optional: prefixes, see `fabric.protocol.stray`
answer        `$ack/<token>/m`, payload {nonce, leg: "ingress" | "relay", view}: the view as bytes, a control
              part `["view", {…}]`
watermark     `$ack/<token>/w`, a node's own message through its ingress and back, payload: a count
bell          `$ack/<token>/b`, from another thread of the same node
announcement  `$fabric/proxy/<id>`, payload: the view, and figures for people
notice        on a topic that begins with a prefix, header `cancelled`, payload: the prefix; see `fabric.protocol.stray`
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from fabric.errors import RemoteWireError
from fabric.protocol.views import Record, View, record_from, valid_name
from fabric.wire import decode_control, encode_control

PROTOCOL = (1, 1)
"""Lowest and highest version of all this that is spoken here."""

MAX_VIEW_BYTES = 256 * 1024
"""Of a packed view: 1,000 peers and their longest names fit."""
ANNOUNCE = "$fabric/proxy/"
ACK = "$ack/"
NOTICE: dict[str, Any] = {"cancelled": True}
"""Headers of a notice."""
MAX_CLAIM_BYTES = 32 * 1024
"""Of prefixes in one marker, but for the last of them; see `sockets.UPSTREAM_BYTES`."""


class Marker(NamedTuple):
    token: str
    nonce: bytes
    sender: Record | None
    claims: tuple[bytes, ...] = ()


class Answer(NamedTuple):
    nonce: bytes
    leg: str
    view: View


def ack_prefix(token: str) -> bytes:
    """The prefix that brings everything addressed to this incarnation."""
    return f"{ACK}{token}/".encode()


def encode_marker(token: str, nonce: bytes, sender: Record | None, claims: Iterable[bytes] = ()) -> bytes:
    claimed = list(claims)
    return encode_control("marker", token, nonce, sender.to_map() if sender else None, *([claimed] if claimed else []))


def decode_marker(part: bytes) -> Marker:
    """Read a marker; RemoteWireError for anything else, and nothing else."""
    kind, fields = decode_control(part)
    if kind != "marker" or len(fields) < 3:
        raise RemoteWireError(f"control part of kind {kind!r} with {len(fields)} fields is no marker", "control")
    token, nonce, sender = fields[:3]
    if not (isinstance(token, str) and valid_name(token) and isinstance(nonce, bytes) and len(nonce) <= 64):
        raise RemoteWireError("a marker's token must be one topic level, its nonce at most 64 bytes", "control")
    record = record_from(sender)
    if sender is not None and record is None:
        raise RemoteWireError(f"a marker's sender {str(sender)[:200]!r} is no proxy's record", "control")
    claims = fields[3] if len(fields) > 3 else []
    if not (isinstance(claims, list) and all(isinstance(prefix, bytes) for prefix in claims)):
        raise RemoteWireError("a marker's claims must be an array of prefixes", "control")
    return Marker(token, nonce, record, tuple(claims))


def answer_payload(nonce: bytes, leg: str, view: View) -> dict[str, Any]:
    return {"nonce": nonce, "leg": leg, "view": _packed_view(view)}


def read_answer(payload: object) -> Answer | None:
    """Read the payload of an answer; None when it is none. Input from a peer never raises."""
    if not isinstance(payload, dict):
        return None
    nonce, leg, packed = payload.get("nonce"), payload.get("leg"), payload.get("view")
    if not (isinstance(nonce, bytes) and leg in ("ingress", "relay") and isinstance(packed, bytes)):
        return None
    view = _read_view(packed) if len(packed) <= MAX_VIEW_BYTES else None
    return None if view is None else Answer(nonce, leg, view)


# A view hardly ever changes, and every ack brings one from each proxy. As bytes within the answer it is packed once,
# and read once: half of what a node does for an ack was reading the same views again.


@lru_cache(8)
def _packed_view(view: View) -> bytes:
    return encode_control("view", view.to_map())


@lru_cache(64)
def _read_view(packed: bytes) -> View | None:
    try:
        kind, fields = decode_control(packed)
    except RemoteWireError:
        return None
    return View.from_map(fields[0]) if kind == "view" and fields else None

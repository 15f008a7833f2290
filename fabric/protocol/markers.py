"""What proxies and nodes say to each other beside the streams: markers upstream, answers and announcements down. Pure.

This module alone knows how the topics are made that are addressed to one run of a proxy or a node:
`$ack/<token>/<letter>`, where the token is its incarnation, and the letter says what it is (`Kind`).

marker        upstream, a control part `["marker", token, nonce, sender, claims, wanted]`: token is the asking
              incarnation, sender a proxy's record, or nil when a node asks; claims, optional: prefixes, see
              `fabric.protocol.stray`; wanted, optional, from nodes only: prefixes whose retained values are wanted
answer        `$ack/<token>/m`, payload {nonce, leg: "out" | "link", view}: where the marker was met, and the view as
              bytes, a control part `["view", {…}]`
watermark     `$ack/<token>/w`, a node's own message through its proxy and back, payload: [connection, count, seal]
bell          `$ack/<token>/b`, from another thread of the same node
rights        `$ack/<token>/r`, from a proxy with keys to a node that asked (`["rights", token]` upstream), and again
              when they change: `Permissions.to_map()` and `mesh`, the keys that proxies may show; an empty map for a
              key of nobody
repair        `$ack/<token>/p`, from a publisher that this node asked for what it lost, see `fabric.protocol.repair`
question      `$ack/<token>/q`, to a proxy, see `fabric.protocol.questions`
announcement  `$fabric/proxy/<id>`, payload: the view, and figures for people
claims wanted upstream, from a proxy to all others, `["claims", incarnation, id]`: the one of this id is to say what it
              retains, see `fabric.core.retained`; the incarnation is the asking one's
retained      `$ack/<token>/t`, in front of an answer to a marker that wants them: batches, see `fabric.core.retained`
not kept      `$ack/<publisher id, 16 hexadecimal digits>/k`: a value is not retained, or not any more; likewise
notice        on a topic that begins with a prefix, header `cancelled`, payload: the prefix; see `fabric.protocol.stray`
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from fabric.errors import RemoteWireError, expected
from fabric.protocol.views import Record, View, record_from
from fabric.topics import valid_name
from fabric.wire import decode_control, encode_control

PROTOCOL = (2, 2)
"""Lowest and highest version spoken here: of markers, requests, and announcements of proxies and services."""

MAX_VIEW_BYTES = 256 * 1024
"""Of a packed view: 1,000 peers and their longest names fit."""
ANNOUNCE = "$fabric/proxy/"
ACK = "$ack/"
_RAW_ACK = ACK.encode()
NOTICE: dict[str, Any] = {"cancelled": True}
"""Headers of a notice."""
_CLAIMS_WANTED = b"\x02\x94\x01\xa6claims"
_RIGHTS_WANTED = b"\x02\x93\x01\xa6rights"
"""What such questions begin with."""
MAX_CLAIM_BYTES = MAX_WANTED_BYTES = 1536
"""Of prefixes in one marker, claimed or wanted, but for the last of them. With what each costs beside itself, and a
last one of 4 KiB, the marker is below `sockets.UPSTREAM_BYTES`."""


class Kind(Enum):
    """What a topic is that is addressed to one run of a proxy or a node, by its last level."""

    ANSWER = "m"
    WATERMARK = "w"
    BELL = "b"
    QUESTION = "q"
    RIGHTS = "r"
    RETAINED = "t"
    NOT_KEPT = "k"
    REPAIR = "p"


_KINDS = {f"/{kind.value}".encode(): kind for kind in Kind}


class Marker(NamedTuple):
    token: str
    nonce: bytes
    sender: Record | None
    claims: tuple[bytes, ...] = ()
    wanted: tuple[bytes, ...] | None = None
    """None: it asks for nothing that is retained."""


class Answer(NamedTuple):
    nonce: bytes
    leg: str
    view: View


def answer_topic(token: str) -> str:
    """Return where a marker of this token is answered."""
    return _addressed(token, Kind.ANSWER)


def watermark_topic(token: str) -> str:
    """Return the topic of a node's watermarks."""
    return _addressed(token, Kind.WATERMARK)


def bell_topic(token: str) -> str:
    """Return the topic on which a node's other threads wake its I/O thread."""
    return _addressed(token, Kind.BELL)


def question_topic(incarnation: str) -> str:
    """Return where a proxy is asked, see `fabric.protocol.questions`."""
    return _addressed(incarnation, Kind.QUESTION)


def rights_topic(token: str) -> str:
    """Return where a node is told its rights."""
    return _addressed(token, Kind.RIGHTS)


def repair_topic(token: str) -> str:
    """Return where a node is sent what it lost."""
    return _addressed(token, Kind.REPAIR)


def encode_rights_wanted(token: str) -> bytes:
    return encode_control("rights", token)


def read_rights_wanted(part: bytes) -> str | None:
    """Return the token of a node that asks for its rights; None for anything else. Never raises."""
    if not part.startswith(_RIGHTS_WANTED):
        return None
    try:
        _, fields = decode_control(part)
    except RemoteWireError:
        return None
    return str(fields[0]) if len(fields) == 1 and valid_name(fields[0]) else None


def encode_claims_wanted(incarnation: str, proxy_id: str) -> bytes:
    return encode_control("claims", incarnation, proxy_id)


def read_claims_wanted(part: bytes) -> tuple[str, str] | None:
    """Return (incarnation of who asks, id of who is asked); None for anything else. Never raises."""
    if not part.startswith(_CLAIMS_WANTED):
        return None
    try:
        _, fields = decode_control(part)
    except RemoteWireError:
        return None
    incarnation, proxy_id = fields
    return (str(incarnation), str(proxy_id)) if valid_name(incarnation) and valid_name(proxy_id) else None


def _addressed(token: str, kind: Kind) -> str:
    return f"{ACK}{token}/{kind.value}"


def kind_of(raw: bytes) -> Kind | None:
    """Return what a topic, as UTF-8 without its NUL, is; None for any other topic. Cost: 0.2 us."""
    return _KINDS.get(raw[-2:]) if is_addressed(raw) else None


def token_of(raw: bytes) -> str:
    """Return the token in a topic that has a kind. Input from a peer never raises."""
    return raw[len(ACK) : -2].decode(errors="replace")


def is_addressed(prefix: bytes) -> bool:
    """Return whether a topic, or a prefix that somebody subscribed to, belongs to one run of a proxy or a node."""
    return prefix.startswith(_RAW_ACK)


def ack_prefix(token: str) -> bytes:
    """Return the prefix that brings everything addressed to this token."""
    return f"{ACK}{token}/".encode()


def node_prefix(token: str) -> bytes:
    """Return the prefix that brings everything addressed to a node.

    Its markers carry the tokens of its connections, `<token>-1` and so on; so this does not end at a level.
    """
    return f"{ACK}{token}".encode()


def encode_marker(
    token: str,
    nonce: bytes,
    sender: Record | None,
    claims: Iterable[bytes] = (),
    wanted: Iterable[bytes] | None = None,
) -> bytes:
    """Return a marker. wanted: at most `MAX_WANTED_BYTES` of prefixes but for the last of them; None: nothing is"""
    fields: list[Any] = [list(claims)]
    if wanted is not None:
        fields.append(list(wanted))
    elif not fields[0]:
        fields.clear()
    return encode_control("marker", token, nonce, sender.to_map() if sender else None, *fields)


def decode_marker(part: bytes) -> Marker:
    """Read a marker; RemoteWireError for anything else, and nothing else."""
    kind, fields = decode_control(part)
    if kind != "marker" or len(fields) < 3:
        raise RemoteWireError(
            f"invalid marker: expected at least 3 fields of it, not {len(fields)} of {kind!r:.40}", "control"
        )
    token, nonce, sender = fields[:3]
    if not (isinstance(token, str) and valid_name(token) and isinstance(nonce, bytes) and len(nonce) <= 64):
        what = "one topic level, and at most 64 bytes"
        raise RemoteWireError(expected("token and nonce", (token, nonce), what), "control")
    record = record_from(sender)
    if sender is not None and record is None:
        raise RemoteWireError(expected("sender of a marker", sender, "a proxy's record"), "control")
    claims = fields[3] if len(fields) > 3 else []
    wanted = fields[4] if len(fields) > 4 else None
    for name, prefixes in (("claims", claims), ("wishes", [] if wanted is None else wanted)):
        if not (isinstance(prefixes, list) and all(isinstance(each, bytes) for each in prefixes)):
            raise RemoteWireError(expected(f"{name} of a marker", prefixes, "an array of prefixes"), "control")
    return Marker(token, nonce, record, tuple(claims), None if wanted is None else tuple(wanted))


def retained_topic(token: str) -> str:
    """Return where a node is given the retained values that it wants."""
    return _addressed(token, Kind.RETAINED)


def not_kept_topic(publisher: int) -> str:
    """Return where a publisher is told that its value is not retained."""
    return _addressed(f"{publisher:016x}", Kind.NOT_KEPT)


def answer_payload(nonce: bytes, leg: str, view: View) -> dict[str, Any]:
    return {"nonce": nonce, "leg": leg, "view": _packed_view(view)}


def split_answer(part: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and behind the nonce, a bin, in the body of an answer: its frame for other nonces.

    part:  an answer as `fabric.wire` encodes it
    nonce: as in that answer, 16 random bytes, so that they stand there once
    """
    head, found, tail = part.partition(b"\0")[2].partition(b"\xc4\x10" + nonce)
    assert found, "the nonce of an answer is a bin of 16 bytes"
    return head, tail


def read_answer(payload: object) -> Answer | None:
    """Read the payload of an answer; None for anything else. Input from a peer never raises."""
    if not isinstance(payload, dict):
        return None
    nonce, leg, packed = payload.get("nonce"), payload.get("leg"), payload.get("view")
    if not (isinstance(nonce, bytes) and leg in ("out", "link") and isinstance(packed, bytes)):
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

"""The wire: one ZeroMQ part is `topic 0x00 body`, and the body is one msgpack array.

    [1, publisher, number, sent_ns, payload]             or, with headers, a sixth element
    [1, publisher, number, sent_ns, payload, headers]

    1          format version; any other is refused and counted apart (kind "version")
    publisher  u64, random for each run of a publisher
    number     u64, from 1 for each topic of that publisher
    sent_ns    wall clock of the publisher, ns since 1970, at least 0
    payload    nil, bool, 64-bit int, float, str, bin, array, or map with str keys; nesting at most 64
    headers    map with str keys; unknown keys are ignored

What a node asks of its proxy goes upstream as a *control part*: 0x02, then the array `[1, kind, field, ...]`.

Errors are split by blame: `LocalWireError` is ours, `RemoteWireError` a peer's, with a `kind` to count by.
Reading order: `Message`; `encode`, `Encoder`; `decode` and its two halves; control parts; JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn, cast

import msgpack  # type: ignore[import-untyped]
from msgpack import unpackb

from fabric.errors import InvalidTopic, LocalWireError, RemoteWireError, ScopeError, expected
from fabric.payloads import FLAT, MAX_NESTING, NUMERIC, flaw, to_json
from fabric.topics import scope, validate_topic

FORMAT_VERSION = 1
DEFAULT_MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
U64_MAX = 2**64 - 1
MAX_CONTROL_BYTES = 1024 * 1024
# Room for what surrounds the payload, so that a str or bin of exactly `max_payload_bytes` fits: at most
# 1 (array) + 1 (version) + 3 * 9 (publisher, number, sent_ns) + 5 (the payload's own head).
ENVELOPE_BYTES = 64
CONTROL_BYTE = b"\x02"
NO_HEADERS: Mapping[str, Any] = MappingProxyType({})

PACKING_ERRORS = (ValueError, OverflowError, TypeError, BufferError)
# From this size on, a body is walked without building anything before it is decoded; see `_refuse_unless_whole`.
_PROBE_FROM_BYTES = 256


class Message(NamedTuple):
    """One message as a subscriber gets it.

    A tuple: immutable, and with `tuple.__new__(Message, fields)` the fastest to make (0.12 us; called by its name
    0.25, a class with slots 0.18, a frozen dataclass 0.72).
    """

    topic: str
    payload: Any
    publisher: int
    number: int
    sent_ns: int
    headers: Mapping[str, Any] = NO_HEADERS

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled; messages are handed to other processes.
        return _restore_message, (self[:5], dict(self.headers))


def _restore_message(fields: tuple[str, Any, int, int, int], headers: dict[str, Any]) -> Message:
    return Message(*fields, MappingProxyType(headers) if headers else NO_HEADERS)


# --- encode -----------------------------------------------------------------------------------------------------------


def topic_prefix(topic: str) -> bytes:
    """Return the bytes before the body: the topic and its NUL.

    errors: InvalidTopic; ScopeError for `~/...`, which never leaves its page, and for unknown scopes
    """
    validate_topic(topic)
    if scope(topic) == "local":
        raise ScopeError(expected("topic", topic, "one without `~/`: that is local and never leaves its node"))
    return topic.encode() + b"\0"


class Encoder:
    """Builds the parts of one publisher. Reuses one packer: use it from one thread, or under a lock."""

    def __init__(self, publisher: int, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> None:
        _require_int("publisher", publisher, 0)
        self.publisher = publisher
        self.max_payload_bytes = max_payload_bytes
        self._pack: Callable[[Any], bytes] = msgpack.Packer().pack

    def prefix(self, topic: str) -> bytes:
        """Return `topic_prefix(topic)`. Validating costs more than encoding: keep the answer for each topic."""
        return topic_prefix(topic)

    def part(
        self, prefix: bytes, number: int, sent_ns: int, payload: Any, headers: dict[str, Any] | None = None
    ) -> bytes:
        """Return one part.

        prefix:  from `prefix()`
        number:  from 1, not checked here (the numbering gives no other)
        sent_ns: ns since 1970, not checked here either
        errors:  LocalWireError when payload or headers are not what the format allows, or too large
        cost:    0.35 us for a flat payload; containers are walked once in Python to check them
        """
        limit = self.max_payload_bytes
        kind = type(payload)
        if headers or not (kind in NUMERIC or ((kind is str or kind is bytes) and len(payload) <= limit)):
            _refuse_bad_values(payload, headers, limit)
        try:
            if headers:
                body = self._pack((FORMAT_VERSION, self.publisher, number, sent_ns, payload, headers))
            else:
                body = self._pack((FORMAT_VERSION, self.publisher, number, sent_ns, payload))
        except PACKING_ERRORS as error:
            raise _unpackable(error) from error
        if len(body) > limit + ENVELOPE_BYTES:
            raise _too_large_to_send(len(body), limit)
        return prefix + body


def encode(
    topic: str,
    publisher: int,
    number: int,
    sent_ns: int,
    payload: Any,
    headers: dict[str, Any] | None = None,
    *,
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
) -> bytes:
    """Return one part, every argument checked. For many messages use `Encoder`.

    errors: InvalidTopic, ScopeError (see `topic_prefix`), LocalWireError
    """
    encoder = Encoder(publisher, max_payload_bytes)
    _require_int("number", number, 1)
    _require_int("sent_ns", sent_ns, 0)
    return encoder.part(topic_prefix(topic), number, sent_ns, payload, headers)


def _require_int(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value <= U64_MAX:
        raise LocalWireError(expected(name, value, f"an int from {least} to {U64_MAX}"))


def _refuse_bad_values(payload: Any, headers: dict[str, Any] | None, max_bytes: int) -> None:
    what = flaw(payload, max_bytes)
    if what is None and headers:
        what = flaw(headers, max_bytes) if isinstance(headers, dict) else expected("headers", headers, "a dict")
    if what is not None:
        raise LocalWireError(what)


def _unpackable(error: Exception) -> LocalWireError:
    if isinstance(error, UnicodeEncodeError):
        return LocalWireError(f"invalid string: expected no lone surrogate, but there is one at index {error.start}")
    if isinstance(error, OverflowError):
        return LocalWireError("invalid int: expected -2**63 to 2**64-1; send another one as a string")
    return LocalWireError(f"cannot be packed: {error}")


def _too_large_to_send(size: int, limit: int) -> LocalWireError:
    return LocalWireError(
        f"the message is {size} bytes; at most {limit} (max_payload_bytes) are allowed: send less, or let a program "
        "raise it (Node(max_payload_bytes=…), and fabric proxy --max-payload)"
    )


# --- decode -----------------------------------------------------------------------------------------------------------


def decode(part: bytes, *, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> Message:
    """Return the message that `part` holds. Whatever the bytes: a message or RemoteWireError, nothing else.

    kinds:  no_topic      no NUL in it
            bad_topic     not a topic by `fabric.topics`
            local_scope   `~/...` or an unknown `~` scope, which no peer may send
            too_large     more than `max_payload_bytes`
            bad_body      not one whole msgpack array of the known form
            version       a format version that is not spoken here
            bad_payload   extension types, keys other than str, text that is not UTF-8, nesting deeper than 64
    memory: at most about 100 bytes for each byte of the part (an array of empty maps)
    """
    raw, nul, body = part.partition(b"\0")
    if not nul:
        raise no_topic(part)
    topic = decode_topic(raw)
    publisher, number, sent_ns, payload, headers = decode_body(body, max_payload_bytes)
    return Message(topic, payload, publisher, number, sent_ns, headers or NO_HEADERS)


def no_topic(part: bytes) -> RemoteWireError:
    """Return the error for a part that holds no NUL."""
    return RemoteWireError(f"no NUL in a part of {len(part)} bytes; it must be topic, NUL, body", "no_topic")


def decode_topic(raw: bytes) -> str:
    """Return the topic of a part. Kinds of RemoteWireError: bad_topic, local_scope."""
    try:
        topic = raw.decode()
        validate_topic(topic)
        local = scope(topic) == "local"
    except UnicodeDecodeError as error:
        raise RemoteWireError(f"topic is not UTF-8: {error}", "bad_topic") from error
    except InvalidTopic as error:
        raise RemoteWireError(str(error), "bad_topic") from error
    except ScopeError as error:
        raise RemoteWireError(str(error), "local_scope") from error
    if local:
        raise RemoteWireError(f"topic {topic!r} is local to a page and must not be sent", "local_scope")
    return topic


def decode_body(
    body: bytes | memoryview, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
) -> tuple[int, int, int, Any, Mapping[str, Any] | None]:
    """Return (publisher, number, sent_ns, payload, headers or None).

    Kinds of RemoteWireError: too_large, bad_body, version, bad_payload; see `decode`. Cost: 0.4 us, payload flat.
    """
    size = len(body)
    if size > max_payload_bytes + ENVELOPE_BYTES:
        raise RemoteWireError(f"body of {size} bytes; at most {max_payload_bytes} of payload are taken", "too_large")
    if size >= _PROBE_FROM_BYTES:
        _refuse_unless_whole(body)
    try:  # not by _unpack(): a call more is a tenth of the whole
        fields = unpackb(body, ext_hook=_refuse_extension)
    except ValueError as error:
        raise _undecodable(body, error) from error
    headers = None
    if type(fields) is not list or len(fields) != 5:
        headers = _pop_headers(fields)
    version, publisher, number, sent_ns, payload = fields
    # A bool is an int to Python but not to msgpack. No int that msgpack holds is above 2**64-1.
    if not (type(version) is type(publisher) is type(number) is type(sent_ns) is int):
        _refuse_head(fields)
    if version != FORMAT_VERSION or publisher < 0 or number < 1 or sent_ns < 0:
        _refuse_head(fields)
    if type(payload) not in FLAT:
        _refuse_flaw(payload)
    if headers is not None:
        _refuse_flaw(headers)
        return publisher, number, sent_ns, payload, MappingProxyType(headers)
    return publisher, number, sent_ns, payload, None


def _pop_headers(fields: Any) -> dict[str, Any]:
    if type(fields) is not list or len(fields) != 6 or type(fields[5]) is not dict:
        _refuse_head(fields)
    return cast("dict[str, Any]", fields.pop())


def _refuse_head(fields: Any) -> NoReturn:
    if type(fields) is not list or not fields or type(fields[0]) is not int:
        raise RemoteWireError("invalid body: expected an array that starts with the format version", "bad_body")
    if fields[0] != FORMAT_VERSION:
        raise RemoteWireError(f"format version {fields[0]} is not spoken here, {FORMAT_VERSION} is", "version")
    if len(fields) not in (5, 6):
        raise RemoteWireError(f"invalid body of {len(fields)} elements: expected 5, or 6 with headers", "bad_body")
    if len(fields) == 6:
        raise RemoteWireError("invalid sixth element: expected headers, a map", "bad_body")
    raise RemoteWireError("invalid publisher, number or sent_ns: expected ints of at least 0, 1 and 0", "bad_body")


def _refuse_flaw(value: Any, max_nesting: int = MAX_NESTING) -> None:
    # What was decoded is no larger than its body, whose size has been checked.
    what = flaw(value, sys.maxsize, max_nesting)
    if what is not None:
        raise RemoteWireError(what, "bad_payload")


def _unpack(body: bytes | memoryview) -> Any:
    if len(body) >= _PROBE_FROM_BYTES:
        _refuse_unless_whole(body)
    try:
        return unpackb(body, ext_hook=_refuse_extension)
    except ValueError as error:
        raise _undecodable(body, error) from error


def _refuse_unless_whole(body: bytes | memoryview) -> None:
    """Refuse a body that is not whole, building nothing.

    msgpack makes room for as many elements as an array's head declares before it sees one, up to the size of the body,
    and a thousand may be nested: 4 kB of such heads keep it busy for 9 ms, 64 kB for 90 ms, and ask a release before
    1.2.4 for 64 GiB at 8 MiB. In a whole body all that is declared is there. Cost: 0.7 us, or one copy of the body
    where that is more.
    """
    if not _is_whole(body):
        raise _undecodable(body, ValueError("it is cut short, or goes on behind its end"))


def _is_whole(body: bytes | memoryview) -> bool:
    unpacker = msgpack.Unpacker(max_buffer_size=len(body))
    unpacker.feed(body)
    try:
        unpacker.skip()
    except (ValueError, msgpack.OutOfData):
        return False
    whole: bool = unpacker.tell() == len(body)
    return whole


def _undecodable(body: bytes | memoryview, error: ValueError) -> RemoteWireError:
    """Tell broken msgpack from whole msgpack that holds what is not allowed, and both from another version.

    For the version, an array's head and a small first int will do: what follows in a later version is not known.
    """
    if len(body) >= 2 and 0x90 <= body[0] <= 0x9F and body[1] < 0x80 and body[1] != FORMAT_VERSION:
        return RemoteWireError(f"format version {body[1]} is not spoken here, {FORMAT_VERSION} is", "version")
    if _is_whole(body):
        return RemoteWireError(f"body holds what the format does not allow: {error}", "bad_payload")
    return RemoteWireError(f"body is not one whole msgpack value: {error}", "bad_body")


def _refuse_extension(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} of {len(data)} bytes; none is allowed")


# --- control parts ----------------------------------------------------------------------------------------------------


def encode_control(kind: str, *fields: Any) -> bytes:
    """Return a control part, at most 1 MiB. Fields are what payloads are. Errors: LocalWireError."""
    if not isinstance(kind, str) or not kind:
        raise LocalWireError(expected("kind", kind, "a str of at least one character"))
    what = flaw(fields, MAX_CONTROL_BYTES, MAX_NESTING + 1)
    if what is not None:
        raise LocalWireError(what)
    try:
        part: bytes = CONTROL_BYTE + msgpack.packb((FORMAT_VERSION, kind, *fields))
    except PACKING_ERRORS as error:
        raise _unpackable(error) from error
    if len(part) > MAX_CONTROL_BYTES:
        raise _too_large_to_send(len(part), MAX_CONTROL_BYTES)
    return part


def decode_control(part: bytes) -> tuple[str, tuple[Any, ...]]:
    """Return (kind, fields) of a control part.

    Kinds of RemoteWireError: not_control, too_large, bad_body, version, bad_payload; see `decode`.
    """
    if part[:1] != CONTROL_BYTE:
        raise RemoteWireError(f"a control part starts with 0x02, this one with 0x{part[:1].hex()}", "not_control")
    if len(part) > MAX_CONTROL_BYTES:
        raise RemoteWireError(f"control part of {len(part)} bytes; at most {MAX_CONTROL_BYTES} are taken", "too_large")
    values = _unpack(part[1:])
    if type(values) is not list or not values or type(values[0]) is not int:
        raise RemoteWireError("invalid control part: expected an array that starts with the format version", "bad_body")
    if values[0] != FORMAT_VERSION:
        raise RemoteWireError(f"format version {values[0]} is not spoken here, {FORMAT_VERSION} is", "version")
    if len(values) < 2 or type(values[1]) is not str or not values[1]:
        raise RemoteWireError("invalid control part: expected its kind, a str, behind the version", "bad_body")
    _refuse_flaw(values, MAX_NESTING + 1)
    return values[1], tuple(values[2:])


# --- JSON -------------------------------------------------------------------------------------------------------------


def message_to_json(message: Message) -> dict[str, Any]:
    """Return a message for JSON. `publisher` and `sent_ns` are strings: JavaScript's numbers end at 2**53."""
    plain = {
        "topic": message.topic,
        "payload": to_json(message.payload),
        "publisher": str(message.publisher),
        "number": message.number,
        "sent_ns": str(message.sent_ns),
    }
    if message.headers:
        plain["headers"] = to_json(dict(message.headers))
    return plain

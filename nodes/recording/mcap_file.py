"""Recordings in MCAP, the container of robotics; the package `mcap` is imported where it is used.

source: https://mcap.dev/spec

Each topic is a channel of its name, and each message holds, as its data, the line of JSON that the other form has; its
log time is `received_ns`, its publish time `sent_ns`, its sequence the number modulo 2**32. The first line, gaps and
the last line are messages of the channel `$recording`. Nothing is put into chunks: what was received is in the file at
once, and a recorder that is killed leaves all but its last record. `mcap compress` of MCAP's tools makes such a file
small, and it is read here as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, cast

from fabric.payloads import dumps
from fabric.wire import Message
from nodes.recording.lines import MAX_LINE_BYTES, CutOff, Damaged, Item, item_of

MAGIC = b"\x89MCAP0\r\n"
OWN_CHANNEL = "$recording"
OTHER_CHANNEL = "$recording/other topics"
MAX_CHANNELS = 65_000
"""Channel ids have 16 bits. Messages of topics beyond these share OTHER_CHANNEL; their lines say their topics."""
_U32 = 2**32
_TEXT = {"type": "string"}
_SCHEMA = {
    "type": "object",
    "properties": {
        "topic": _TEXT,
        "payload": {},
        "publisher": _TEXT,
        "number": {"type": "integer"},
        "sent_ns": _TEXT,
        "headers": {"type": "object"},
        "received_ns": _TEXT,
    },
}


class McapFile:
    """A `Sink` of MCAP. Errors: ModuleNotFoundError when `mcap` is not installed."""

    def __init__(self, file: BinaryIO) -> None:
        from mcap.writer import CompressionType, IndexType, Writer

        self._file = _Counted(file)
        self._writer = Writer(
            cast("IO[Any]", self._file),
            compression=CompressionType.NONE,
            index_types=IndexType.NONE,
            use_chunking=False,
        )
        self._writer.start("", "site-connect-fabric")
        self._schema = self._writer.register_schema("fabric.message", "jsonschema", dumps(_SCHEMA).encode())
        self._channels: dict[str, int] = {}
        """Topic to the id of its channel; at most MAX_CHANNELS and two."""

    def write(self, line: str, at_ns: int, message: Message | None = None) -> None:
        topic = OWN_CHANNEL if message is None else message.topic
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channel(topic)
        sent_ns, number = (at_ns, 0) if message is None else (message.sent_ns, message.number % _U32)
        self._writer.add_message(channel, at_ns, line.encode(), sent_ns, number)

    def _channel(self, topic: str) -> int:
        if len(self._channels) >= MAX_CHANNELS:
            topic = OTHER_CHANNEL
        known = self._channels.get(topic)
        if known is None:
            known = self._channels[topic] = self._writer.register_channel(topic, "json", self._schema)
        return known

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.flush()


class _Counted:
    """A file that knows how much was written, since a pipe does not."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written = 0

    def write(self, data: bytes) -> int:
        self._written += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        self._file.flush()


def read(file: BinaryIO) -> Iterator[Item]:
    """Yield what the file holds; the `line` of an item is the number of its message in the file.

    errors: OtherVersion, OSError; ModuleNotFoundError when `mcap` is not installed
    """
    from mcap.exceptions import EndOfFile, McapError
    from mcap.records import Message as Record
    from mcap.stream_reader import StreamReader
    from zstandard import ZstdError  # mcap needs it, and takes chunks apart with it

    number = 0
    try:
        for record in StreamReader(file, record_size_limit=2 * MAX_LINE_BYTES).records:
            if isinstance(record, Record):
                number += 1
                yield item_of(record.data, number)
    except (EndOfFile, struct.error):  # a header that is cut off is the latter
        yield CutOff(number + 1)
    except (McapError, ValueError, ZstdError, RuntimeError) as error:  # the last: chunks in LZ4
        yield Damaged(number + 1, f"{error}; nothing behind it can be read")

"""Recordings in MCAP: what another reader finds in them, and what of a broken one is read."""

from __future__ import annotations

import io
import json

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from fabric.wire import Message
from nodes.recording import mcap_file
from nodes.recording.lines import CutOff, Damaged, Entry, end_line, head_line, message_line
from nodes.recording.mcap_file import OTHER_CHANNEL, OWN_CHANNEL, McapFile

MESSAGES = [Message(f"a/{k % 3}", {"k": k}, 7, 2**32 + k, 10 + k) for k in range(30)]


def recorded() -> bytes:
    file = io.BytesIO()
    sink = McapFile(file)
    sink.write(head_line(5, ("a/#",)), 5)
    for message in MESSAGES:
        sink.write(message_line(message, 2 * message.sent_ns), 2 * message.sent_ns, message)
    sink.write(end_line(30, 0, 900), 900)
    sink.finish()
    return file.getvalue()


def test_another_reader_finds_channels_times_and_json() -> None:
    found = list(make_reader(io.BytesIO(recorded())).iter_messages(log_time_order=False))
    assert [channel.topic for _, channel, _ in found] == [OWN_CHANNEL, *(each.topic for each in MESSAGES), OWN_CHANNEL]
    for (schema, channel, record), message in zip(found[1:], MESSAGES, strict=False):
        assert schema and (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
        assert (record.publish_time, record.log_time) == (message.sent_ns, 2 * message.sent_ns)
        assert record.sequence == message.number - 2**32
        assert json.loads(record.data)["payload"] == message.payload


def test_a_recorder_that_was_killed_leaves_what_it_wrote() -> None:
    whole = recorded()
    before = 0
    for end in range(len(whole) - 1, 8, -37):
        *items, last = mcap_file.read(io.BytesIO(whole[:end]))
        assert isinstance(last, CutOff)
        found = [each.message for each in items if isinstance(each, Entry)]
        assert found == MESSAGES[: len(found)]
        before = max(before, len(found))
    assert before == len(MESSAGES)


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_a_file_that_was_compressed_is_read_and_one_that_is_damaged_tells_so(compression: CompressionType) -> None:
    file = io.BytesIO()
    writer = Writer(file, compression=compression)
    writer.start("", "another program")
    channel = writer.register_channel("a", "json", 0)
    for message in MESSAGES:
        writer.add_message(channel, 1, message_line(message, 1).encode(), 1)
    writer.add_message(channel, 1, b'{"x": 1}', 1)
    writer.finish()  # type: ignore[no-untyped-call]
    *items, last = mcap_file.read(io.BytesIO(file.getvalue()))
    assert [each.message for each in items if isinstance(each, Entry)] == MESSAGES
    assert isinstance(last, Damaged) and last.line == 31
    broken = bytearray(file.getvalue())
    broken[150:400] = bytes(250)
    (only,) = mcap_file.read(io.BytesIO(broken))
    assert isinstance(only, Damaged | CutOff)


def test_topics_beyond_the_channels_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcap_file, "MAX_CHANNELS", 2)
    data = recorded()
    topics = {channel.topic for _, channel, _ in make_reader(io.BytesIO(data)).iter_messages()}
    assert topics == {OWN_CHANNEL, "a/0", OTHER_CHANNEL}
    assert [each.message for each in mcap_file.read(io.BytesIO(data)) if isinstance(each, Entry)] == MESSAGES

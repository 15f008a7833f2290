"""A recording is read whatever its file is."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from fabric.wire import Message
from nodes.recording import files, mcap_file
from nodes.recording.files import LinesFile, Sink
from nodes.recording.lines import CutOff, End, Entry, Item, end_line, head_line, message_line

MESSAGES = [Message(f"a/{k % 3}", {"k": k, "b": b"\0"}, 2**64 - 1, k + 1, 10 + k, {"h": 1}) for k in range(100)]


def written(sink: Sink) -> None:
    sink.write(head_line(5, ("a/#",)), 5)
    for message in MESSAGES:
        sink.write(message_line(message, message.sent_ns + 1), message.sent_ns + 1, message)
    sink.write(end_line(len(MESSAGES), 0, 900), 900)
    sink.finish()


def read(data: bytes) -> list[Item]:
    return list(files.read(io.BufferedReader(io.BytesIO(data))))


def recorded() -> bytes:
    file = io.BytesIO()
    written(LinesFile(file))
    return file.getvalue()


def check(items: list[Item]) -> None:
    assert [each.message for each in items if isinstance(each, Entry)] == MESSAGES
    assert items[-1] == End(100, 0)


def test_lines_plain_and_in_gzip() -> None:
    check(read(recorded()))
    check(read(gzip.compress(recorded())))


def test_mcap() -> None:
    file = io.BytesIO()
    written(mcap_file.McapFile(file))
    check(read(file.getvalue()))


@pytest.mark.parametrize("keep", [11, 400, -1])
def test_a_gzip_file_that_is_cut_off_is_read_up_to_there(keep: int) -> None:
    items = read(gzip.compress(recorded())[:keep])
    assert isinstance(items[-1], CutOff)
    found = [each.message for each in items if isinstance(each, Entry)]
    assert found == MESSAGES[: len(found)]


def test_what_was_flushed_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "wb") as file:
        for sink in (LinesFile(file), mcap_file.McapFile(file)):
            before = path.stat().st_size
            sink.write(message_line(MESSAGES[0], 1), 1, MESSAGES[0])
            sink.flush()
            assert path.stat().st_size > before


def test_an_empty_file_holds_nothing() -> None:
    assert read(b"") == []

"""The form of a recording: what is written is read again, and whatever else is in a file never ends the reading."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabric.node.gaps import Gap
from fabric.payloads import to_json
from fabric.wire import U64_MAX, Message
from nodes.recording import lines
from nodes.recording.lines import CutOff, Damaged, End, Entry, Head, Item, Loss, OtherVersion
from tests.support.payload_strategies import PAYLOADS

U64 = st.integers(0, U64_MAX)


def read(text: str | bytes) -> list[Item]:
    return list(lines.read(io.BytesIO(text.encode() if isinstance(text, str) else text).readline))


@given(payload=PAYLOADS, publisher=U64, number=st.integers(1, U64_MAX), sent_ns=U64, received_ns=U64)
def test_a_message_is_read_as_it_was(payload: Any, publisher: int, number: int, sent_ns: int, received_ns: int) -> None:
    message = Message("a/ü\n", payload, publisher, number, sent_ns, {"k": [b"\0"]})
    (entry,) = read(lines.message_line(message, received_ns) + "\n")
    assert isinstance(entry, Entry) and (entry.line, entry.received_ns) == (1, received_ns)
    assert entry.message._replace(payload=None) == message._replace(payload=None)
    assert json.dumps(to_json(entry.message.payload)) == json.dumps(to_json(payload))  # NaN is not equal to itself


def test_a_whole_recording() -> None:
    loss = Loss("a/b", U64_MAX, 2, 4, 3, "too old")
    text = [
        lines.head_line(5, ("a/#", "b")),
        lines.message_line(Message("a/b", 1, U64_MAX, 1, 6), 7),
        lines.gap_line(loss, 8),
        lines.end_line(1, 3, 9),
    ]
    assert read("\n".join(text)) == [  # the newline at the end may be missing where the line is whole
        Head(5, ("a/#", "b")),
        Entry(2, Message("a/b", 1, U64_MAX, 1, 6), 7),
        loss._replace(line=3),
        End(1, 3),
    ]
    assert all(type(json.loads(each).get("sent_ns", "")) is str for each in text), "u64 as strings"


def test_a_loss_is_taken_from_a_gap_field_by_field() -> None:
    gap = Gap("t", 9, 2, 4, 3)
    assert lines.loss_of(gap) == Loss("t", 9, 2, 4, 3)


def test_what_sub_printed_is_read_too_and_of_a_message_only_topic_and_payload_have_to_be_there() -> None:
    bare, full = read('{"topic": "a", "payload": {"$bin": "AA=="}}\n{"topic":"a","payload":1,"publisher":"7"}\n')
    assert bare == Entry(1, Message("a", b"\0", 0, 0, 0), 0)
    assert full == Entry(2, Message("a", 1, 7, 0, 0), 0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Expecting property name"),
        ("[1]", "not a JSON object"),
        ("{}", 'none of "topic", "gap", "end" and "format"'),
        ('{"topic": "a"}', '"payload" is missing'),
        ('{"topic": 1, "payload": 1}', "invalid \"topic\" 1: expected a string"),
        ('{"topic": "a", "payload": NaN}', "NaN is not JSON"),
        ('{"topic": "a", "payload": {"$bin": "?"}}', "$bin"),
        ('{"topic": "a", "payload": 1, "sent_ns": "-1"}', "\"sent_ns\" '-1': expected a whole number from 0"),
        ('{"topic": "a", "payload": 1, "sent_ns": true}', '"sent_ns" True'),
        ('{"topic": "a", "payload": 1, "publisher": "18446744073709551616"}', '"publisher"'),
        ('{"topic": "a", "payload": 1, "headers": 1}', "invalid \"headers\" 1: expected an object"),
        ('{"gap": 1}', "expected an object"),
        ('{"gap": {"topic": "a", "publisher": "1", "first": 3, "last": 2, "lost": 1}}', "invalid gap '3 to 2'"),
        ('{"end": {"messages": "x", "lost": 0}}', '"messages"'),
        ('{"format": "fabric recording", "version": 1, "recorded_ns": "1", "filters": 1}', '"filters" 1'),
        ("[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_told_with_its_number_and_those_behind_it_are_read(line: str, why: str) -> None:
    empty, damaged, behind = read(f'\n{{"topic":"a","payload":1}}\n{line}\n{{"topic":"b","payload":2}}\n')
    assert isinstance(empty, Entry) and isinstance(behind, Entry) and behind.line == 4
    assert isinstance(damaged, Damaged) and damaged.line == 3 and why in damaged.why


def test_a_last_line_without_its_newline_is_cut_off_unless_it_is_whole() -> None:
    whole = lines.message_line(Message("a", "x" * 50, 1, 1, 1), 1)
    for end in range(1, len(whole)):
        assert read(whole + "\n" + whole[:end])[1:] == [CutOff(2)]
    assert [type(each) for each in read(whole + "\n" + whole)] == [Entry, Entry]


def test_a_line_too_long_is_passed_over_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 100)
    asked: list[int] = []
    file = io.BytesIO(b"x" * 1000 + b'\n{"topic":"a","payload":1}\n' + b"x" * 1000)

    def readline(most: int) -> bytes:
        asked.append(most)
        return file.readline(most)

    first, second, third = lines.read(readline)
    assert first == Damaged(1, "longer than 100 bytes") and max(asked) == 101
    assert isinstance(second, Entry) and second.line == 2
    assert third == CutOff(3)


def test_another_version_is_not_read_at_all() -> None:
    with pytest.raises(OtherVersion, match="invalid version of the recording 2: expected 1"):
        read('{"format": "fabric recording", "version": 2}\n')


@given(st.binary())
@example(b"\xff\xfe\n")
@example(b"\x00")
@example(b'{"topic":"a","payload":1,"number":"\xc2\xb2"}\n')
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    assert all(isinstance(each, Item) for each in read(data))

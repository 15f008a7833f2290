"""The queue between node and store: never waits, loses nothing that it took, and tells what it did not take."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric.errors import Busy, RequestTimeout
from fabric.node.gaps import Gap
from fabric.protocol.histories import Hole, Kept, Question
from fabric.wire import Message
from nodes.keep.retention import Retention, Sweeper
from nodes.keep.store import KeepStore
from nodes.keep.writer import FULL, TOO_LARGE, Writer
from tests.support.kept import kept_value, read_all
from tests.support.waiting import until

BIG = 1024 * 1024


def message(number: int, payload: Any = None, topic: str = "t") -> Message:
    return Message(topic, number if payload is None else payload, 1, number, 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeepStore]:
    store = KeepStore(f"sqlite:///{tmp_path}/keep.db")
    yield store
    store.close()


class Held(KeepStore):
    """A store whose writing can be held up."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.gate = threading.Event()

    def write(self, batch: Any, missing: Any, now_ns: int, values: Any = ()) -> int:
        self.gate.wait()
        return super().write(batch, missing, now_ns, values)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    store = Held(f"sqlite:///{tmp_path}/held.db")
    yield store
    store.close()


def writer_on(store: KeepStore, **limits: Any) -> Writer:
    return Writer(store, Sweeper(store, Retention()), **{"max_bytes": BIG, **limits})


def test_what_was_put_is_there_after_a_flush_in_its_order(store: KeepStore) -> None:
    writer = writer_on(store)
    for number in range(1, 1001):
        writer.put(message(number))
    writer.flush(10)
    assert read_all(store, Question("t"))[0] == [("t", number) for number in range(1, 1001)]
    writer.put(message(1000))
    assert writer.close(10) == 0
    assert (writer.new, writer.doubles, writer.dropped) == (1000, 1, 0)


def test_closing_writes_what_was_taken_and_takes_no_more(held: Held) -> None:
    writer = writer_on(held)
    for number in range(1, 101):
        writer.put(message(number))
    threading.Timer(0.2, held.gate.set).start()
    assert writer.close(10) == 0
    writer.put(message(101))
    assert len(read_all(held, Question("t"))[0]) == 100 and writer.figures()["waiting"] == 0


def test_what_finds_no_room_is_written_down_as_a_hole(held: Held) -> None:
    writer = writer_on(held, max_waiting_msgs=10)
    writer.put(message(1))
    until(lambda: writer.figures()["waiting"] == 0, "the first one is being written")
    for number in range(2, 31):
        writer.put(message(number))
    writer.put(message(1, topic="u"))
    held.gate.set()
    writer.flush(10)
    writer.put(message(31))
    assert writer.close(10) == 0
    found, holes, _ = read_all(held, Question("#"))
    assert found == [("t", number) for number in (*range(1, 12), 31)]
    assert holes == [Hole("t", 1, 12, 30, FULL), Hole("u", 1, 1, 1, FULL)] and writer.dropped == 20


def test_room_is_bounded_in_bytes_and_no_message_is_larger_than_a_page_can_take(held: Held) -> None:
    writer = writer_on(held, max_bytes=2_000, max_waiting_bytes=5_000)
    writer.put(message(1, b"x" * 2_000))
    for number in range(2, 8):
        writer.put(message(number, b"x" * 1_000))
    assert writer.figures()["waiting_bytes"] <= 5_000
    held.gate.set()
    assert writer.close(10) == 0
    found, holes, _ = read_all(held, Question("t"))
    assert [number for _, number in found] == [2, 3, 4, 5]
    assert holes == [Hole("t", 1, 1, 1, TOO_LARGE), Hole("t", 1, 6, 7, FULL)]


def test_losses_that_the_node_tells_are_written_down(store: KeepStore) -> None:
    writer = writer_on(store)
    writer.lose(Gap("t", 1, 1, 4, 4, "too old"))
    writer.put(message(5))
    writer.lose(Gap("t", 1, 6, 6, 1))
    writer.put(message(7))
    assert writer.close(10) == 0
    assert read_all(store, Question("t"))[1] == [Hole("t", 1, 1, 4, "too old"), Hole("t", 1, 6, 6, "lost")]


def test_while_the_store_is_away_what_comes_waits(store: KeepStore, tmp_path: Path) -> None:
    with store.transaction() as sql:
        sql.exec_driver_sql("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(tmp_path / "keep.db")
    writer = writer_on(store)
    other.execute("BEGIN IMMEDIATE")
    writer.put(message(1))
    until(lambda: not writer.figures()["store_up"], "it has tried")
    assert "the store has been away for" in writer.problem()
    with pytest.raises(Busy, match="the store does not answer"):
        writer.flush(10)
    other.execute("ROLLBACK")
    until(lambda: writer.figures()["written"] == 1, "it has tried again")
    writer.flush(10)
    assert writer.problem() == ""
    other.execute("BEGIN IMMEDIATE")
    writer.put(message(2))
    began = time.monotonic()
    assert writer.close(0.1) == 1, "what could not be written is told"
    assert time.monotonic() - began < 5
    other.close()


def test_a_flush_that_takes_too_long_says_so(held: Held) -> None:
    writer = writer_on(held)
    writer.put(message(1))
    with pytest.raises(RequestTimeout, match=r"not written what it got before within 0.05 s"):
        writer.flush(0.05)
    held.gate.set()
    assert writer.close(10) == 0


def test_payloads_and_headers_are_kept_as_they_were_packed(store: KeepStore) -> None:
    writer = writer_on(store)
    payload = {"a": [1, 2.5, None, b"\x00", "é"], "b": 2**64 - 1}
    writer.put(Message("t", payload, 2**64 - 1, 3, 2**63 + 1, {"x": 1, "moved": True}))
    assert writer.close(10) == 0
    from nodes.keep.pages import Pages

    ((kept,), _, _, _) = Pages(store).page(Question("t"), 0)
    import msgpack  # type: ignore[import-untyped]

    assert kept == Kept("t", 2**64 - 1, 3, 2**63 + 1, msgpack.packb(payload), msgpack.packb({"x": 1}))


def test_retained_values_are_written_in_the_same_batches_and_within_the_same_bounds(held: Held) -> None:
    writer = writer_on(held, max_waiting_msgs=4)
    writer.retain(kept_value("a", 1, "first"))
    until(lambda: writer.figures()["waiting"] == 0, "the first one is being written")
    for sent_ns in (3, 2):
        writer.put(message(sent_ns))
        writer.retain(kept_value("a", sent_ns, sent_ns))
    writer.retain(kept_value("b", 1, "no room"))
    held.gate.set()
    writer.flush(10)
    assert list(held.retained(0)) == [kept_value("a", 3, 3)]
    assert [number for _, number in read_all(held, Question("t"))[0]] == [3, 2]
    figures = writer.figures()
    assert (figures["values"], figures["values_dropped"], figures["waiting_bytes"]) == (3, 1, 0)
    assert writer.close(10) == 0
    writer.retain(kept_value("a", 9, "too late"))
    assert list(held.retained(0)) == [kept_value("a", 3, 3)]

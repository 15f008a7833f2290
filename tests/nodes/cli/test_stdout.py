"""The outlet: nothing waits for a slow reader, what finds no room is counted, and an end wakes the writer."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from nodes.cli.stdout import Outlet, table_text, write_lines


def test_items_come_in_order_and_those_without_room_are_counted() -> None:
    outlet: Outlet[int] = Outlet(3)
    for number in range(5):
        outlet.put(number)
    outlet.put(9, always=True)
    assert outlet.dropped == 2
    assert list(outlet.items()) == [0, 1, 2, 9]
    assert list(outlet.items()) == []


def test_what_is_not_taken_waits_on() -> None:
    outlet: Outlet[int] = Outlet(10)
    for number in range(4):
        outlet.put(number)
    for item in outlet.items():
        if item == 1:
            break
    assert list(outlet.items()) == [2, 3]


def test_an_end_wakes_the_writer_and_loses_nothing() -> None:
    outlet: Outlet[int] = Outlet(10)
    written: list[int] = []

    def write() -> None:
        while not outlet.ended:
            written.extend(outlet.items(None))
        written.extend(outlet.items())

    writer = threading.Thread(target=write)
    writer.start()
    outlet.put(1)
    outlet.put(2)
    outlet.end()
    writer.join(10)
    assert not writer.is_alive() and written == [1, 2]


def test_a_signal_handler_may_end_it_while_the_main_thread_waits() -> None:
    outlet: Outlet[int] = Outlet(10)
    before = signal.signal(signal.SIGALRM, lambda number, stack_frame: outlet.end())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert list(outlet.items(30.0)) == [] and outlet.ended
    finally:
        signal.signal(signal.SIGALRM, before)


def test_lines_are_utf_8_whatever_the_locale_says(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write_lines(["ä", "b"])
    write_lines([])
    assert capfdbinary.readouterr().out == "ä\nb\n".encode()


@pytest.mark.parametrize("given", ["a\nb", "\x1b[2J"])
def test_a_table_writes_control_characters_out(given: Any) -> None:
    lines = table_text(("NAME", "COUNT"), [(given, 1), ("longer", 100)], right=("COUNT",)).splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    assert lines[1].endswith("    1")

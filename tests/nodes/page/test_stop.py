"""A stop: waited for, told of, once."""

from __future__ import annotations

import threading

import pytest

from nodes.page.stop import Stop


def test_it_is_acknowledged_once_and_for_all_who_asked() -> None:
    stop, told = Stop(), list[str]()
    stop.on_acknowledged(lambda: told.append("before"))
    assert not stop.acknowledged and not stop.wait(0) and told == []
    stop.acknowledge()
    assert stop.acknowledged and stop.wait(0) and told == ["before"]
    stop.on_acknowledged(lambda: told.append("after"))
    stop.acknowledge()
    assert told == ["before", "after"]


def test_a_thread_that_waits_goes_on() -> None:
    stop, outcome = Stop(), list[bool]()
    thread = threading.Thread(target=lambda: outcome.append(stop.wait(10)))
    thread.start()
    stop.acknowledge()
    thread.join(10)
    assert outcome == [True]


def test_one_that_raises_keeps_no_other_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    stop, told = Stop(), list[int]()

    def bad() -> None:
        raise ValueError("on purpose")

    stop.on_acknowledged(bad)
    stop.on_acknowledged(lambda: told.append(1))
    stop.acknowledge()
    assert told == [1] and "on purpose" in caplog.text

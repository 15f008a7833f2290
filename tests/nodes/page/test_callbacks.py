"""Callbacks: one at a time, in order, from any thread, and one that raises harms no other."""

from __future__ import annotations

import threading

import pytest

from nodes.page.callbacks import Callbacks


def test_in_order_and_not_within_each_other() -> None:
    callbacks, seen = Callbacks(), list[str]()

    def first() -> None:
        callbacks.add(lambda: seen.append("third"))
        callbacks.run()
        seen.append("first")

    callbacks.add(first)
    callbacks.add(lambda: seen.append("second"))
    assert seen == []
    callbacks.run()
    assert seen == ["first", "second", "third"]


def test_one_thread_takes_over_what_another_adds() -> None:
    callbacks, inside, go_on = Callbacks(), threading.Event(), threading.Event()
    by: list[str] = []

    def slow() -> None:
        inside.set()
        assert go_on.wait(10)

    callbacks.add(slow)
    thread = threading.Thread(target=callbacks.run, name="first")
    thread.start()
    assert inside.wait(10)
    callbacks.add(lambda: by.append(threading.current_thread().name))
    callbacks.run()
    assert by == [], "another thread is at it"
    go_on.set()
    thread.join(10)
    assert by == ["first"]


def test_what_raises_is_logged_and_the_next_is_called(caplog: pytest.LogCaptureFixture) -> None:
    callbacks, seen = Callbacks(), list[int]()

    def bad() -> None:
        raise ValueError("on purpose")

    callbacks.add(bad)
    callbacks.add(lambda: seen.append(1))
    callbacks.run()
    assert seen == [1] and "on purpose" in caplog.text


def test_nothing_is_lost_between_threads() -> None:
    callbacks, seen = Callbacks(), list[tuple[int, int]]()

    def add(thread: int) -> None:
        for number in range(500):
            callbacks.add(lambda number=number: seen.append((thread, number)))  # type: ignore[misc]
            callbacks.run()

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    callbacks.run()
    assert len(seen) == 2000
    for number in range(4):
        assert [n for thread_, n in seen if thread_ == number] == list(range(500))

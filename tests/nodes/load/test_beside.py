"""What is done beside a phase, in threads here, driven through pipes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fabric import Node
from nodes.load import beside
from nodes.load.beside import Asker, Done, Joiner, Responder, Tally
from tests.nodes.load.test_worker import spec, working
from tests.support.processes import ProxyProcess, free_base


def test_nodes_join_when_they_are_due_and_leave(mesh: list[ProxyProcess]) -> None:
    with working(Joiner, spec(mesh)) as (_, ask), Node(mesh[1].base) as node:
        start = time.monotonic_ns()
        done: Done = ask("join", start, (0.0, 0.0, 0.05), 0.1, start, wanted="done")[1]
        assert (done.succeeded, done.failed, done.why) == (3, 0, "")
        assert time.monotonic_ns() - start >= 150_000_000, "the last stays its time"
        assert node.publish("w/0", 1)


def test_a_join_that_fails_is_counted_with_its_reason(mesh: list[ProxyProcess]) -> None:
    given = replace(spec(mesh), connect=(free_base(),), connect_timeout_s=0.2)
    with working(Joiner, given) as (_, ask):
        done = ask("join", time.monotonic_ns(), (0.0, 0.0), 0.1, 0, wanted="done")[1]
    assert (done.succeeded, done.failed) == (0, 2) and "no proxy answered" in done.why


def test_requests_are_asked_at_their_times_and_answered(mesh: list[ProxyProcess]) -> None:
    given = spec(mesh)
    with working(Responder, given) as (_, serve), working(Asker, given) as (_, ask):
        assert serve("serve", "beside-test", wanted="done")[1] == Done()
        assert ask("find", "beside-test", wanted="done")[1] == Done()
        start = time.monotonic_ns()
        done = ask("ask", "beside-test", start, 100.0, 0.2, wanted="done")[1]
        assert (done.succeeded, done.failed) == (20, 0)
        assert time.monotonic_ns() - start >= 190_000_000


def test_a_service_that_is_not_there(mesh: list[ProxyProcess], monkeypatch: Any) -> None:
    monkeypatch.setattr(beside, "FIND_S", 0.0)
    monkeypatch.setattr(beside, "DEADLINE_S", 0.2)
    with working(Asker, spec(mesh)) as (_, ask):
        assert "nobody" in ask("find", "nobody", wanted="done")[1].why
        done = ask("ask", "nobody", time.monotonic_ns(), 50.0, 0.1, wanted="done")[1]
    assert (done.succeeded, done.failed) == (0, 5) and done.why


def test_the_first_reason_is_kept() -> None:
    tally = Tally()
    for why in ("", "first", "second"):
        tally.failed(why)
    tally.took(3_000)
    assert tally.done == Done({3: 1}, 3, "first")

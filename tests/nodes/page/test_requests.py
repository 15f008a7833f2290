"""A page's requests: asked until they are answered, always under the same key, the visitor's one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import HighWaterMarkReached
from nodes.page.interface import Ask
from nodes.page.requests import MAX_REQUESTS, Requests


def test_the_visitors_requests_go_one_after_the_other() -> None:
    requests = Requests("s", "run")
    requests.add("trigger", {"button": "help"}, 0.0)
    requests.add("stop_chat", {}, 0.0)
    (first,) = requests.take_due(0.0)
    assert first == Ask("trigger", {"session": "s", "button": "help"}, "run-1")
    assert requests.take_due(99.0) == [] and requests.due_s() == []
    assert requests.waiting() == [("trigger", first.body), ("stop_chat", {"session": "s"})]
    requests.done(first)
    assert [ask.operation for ask in requests.take_due(0.0)] == ["stop_chat"]


def test_what_is_put_off_is_asked_again_under_the_same_key() -> None:
    requests = Requests("s", "run")
    requests.add("trigger", {}, 0.0)
    (ask,) = requests.take_due(0.0)
    requests.put_off(ask, 2.5)
    assert requests.due_s() == [2.5] and requests.take_due(2.4) == []
    assert requests.take_due(2.5) == [ask]


def test_a_stop_waits_for_nothing_and_a_later_one_takes_its_place() -> None:
    requests = Requests("s", "run")
    requests.add("trigger", {}, 0.0)
    requests.take_due(0.0)
    assert not requests.has_stop
    requests.stop(1, 0.0)
    (first,) = requests.take_due(0.0)
    assert first.operation == "stop" and requests.has_stop
    requests.stop(2, 0.0)
    requests.done(first)
    assert requests.has_stop, "the answer was to the earlier one"
    (second,) = requests.take_due(0.0)
    assert second.body == {"session": "s", "epoch": 2}
    requests.done(second)
    assert not requests.has_stop
    requests.stop(3, 0.0)
    requests.forget_stop()
    assert requests.take_due(9.0) == []


def test_too_many_are_refused_and_none_is_forgotten() -> None:
    requests = Requests("s", "run")
    for _ in range(MAX_REQUESTS):
        requests.add("trigger", {}, 0.0)
    with pytest.raises(HighWaterMarkReached):
        requests.add("trigger", {}, 0.0)
    assert len(requests.waiting()) == MAX_REQUESTS


@given(st.lists(st.sampled_from(["add", "stop", "ask", "done", "again", "forget"])))
def test_each_key_is_of_one_request_and_only_one_of_the_visitors_is_under_way(steps: list[str]) -> None:
    requests, under_way, seen = Requests("s", "run"), dict[str, Ask](), dict[str, Ask]()
    for now, step in enumerate(steps):
        match step:
            case "add":
                requests.add("trigger", {"n": now}, now)
            case "stop":
                requests.stop(now, now)
            case "ask":
                for ask in requests.take_due(now):
                    assert ask.key not in under_way and seen.setdefault(ask.key, ask) == ask
                    under_way[ask.key] = ask
            case "done" | "again" if under_way:
                _, ask = under_way.popitem()
                requests.done(ask) if step == "done" else requests.put_off(ask, now + 1.0)
            case "forget":
                requests.forget_stop()
        assert sum(ask.operation == "trigger" for ask in under_way.values()) <= 1

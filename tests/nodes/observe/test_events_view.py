"""What proxies and nodes say, and which events come of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from nodes.observe import events_view
from nodes.observe.events_view import NAME_S, Event, EventsView, words
from tests.support.payload_strategies import PAYLOADS


def said(event: str, proxy: str = "p1", **fields: Any) -> dict[str, Any]:
    return {"event": event, "proxy": proxy, "untold": 0, **fields}


def answer(run: str, name: str, proxy: str = "p1", **figures: int) -> dict[str, Any]:
    return {"answer": "stats", "node": name, "proxy": proxy, "run": run, **figures}


def told(found: list[Event]) -> list[str]:
    return [words(each) for each in found]


def test_a_node_that_joins_is_shown_when_it_has_said_its_name() -> None:
    view = EventsView()
    assert view.proxy_said(5, said("node_joined", run="r"), 10.0) == []
    assert view.wanted() == [("r", "p1")] and view.due(10.5) == []
    assert view.answered(9, answer("r", "n")) == [Event(5, "node_joined", {"node": "n", "proxy": "p1", "run": "r"})]
    assert view.wanted() == [] and view.due(99.0) == []
    assert told(view.proxy_said(6, said("node_left", run="r"), 11.0)) == ["node_left  node=n proxy=p1"]


def test_one_that_does_not_say_it_is_shown_without() -> None:
    view = EventsView()
    view.proxy_said(5, said("node_joined", run="r"), 10.0)
    assert view.due(10.0 + NAME_S) == [Event(5, "node_joined", {"proxy": "p1", "run": "r"})]
    assert told(view.proxy_said(6, said("node_left", run="other"), 11.0)) == ["node_left  proxy=p1"]


def test_one_that_leaves_at_once_has_joined_first() -> None:
    view = EventsView()
    view.proxy_said(5, said("node_joined", run="r"), 10.0)
    found = view.proxy_said(6, said("node_left", run="r"), 10.1)
    assert [(each.at_ns, each.event) for each in found] == [(5, "node_joined"), (6, "node_left")]
    assert view.wanted() == []


def test_one_that_joins_another_proxy_has_moved() -> None:
    view = EventsView()
    view.answered(1, answer("r", "n"))
    assert told(view.proxy_said(5, said("node_joined", "p2", run="r"), 10.0)) == ["node_moved  node=n proxy=p2 from=p1"]
    assert view.proxy_said(6, said("node_left", "p1", run="r"), 10.1) == []
    assert told(view.proxy_said(7, said("node_left", "p2", run="r"), 11.0)) == ["node_left  node=n proxy=p2"]
    assert told(view.proxy_said(8, said("node_joined", "p1", run="r"), 12.0)) == ["node_joined  node=n proxy=p1"]


def test_what_was_lost_before_is_no_event_and_what_rises_is() -> None:
    view = EventsView()
    assert view.answered(1, answer("old", "a", lost=5, refused=0, waits=1)) == []
    assert view.answered(2, answer("old", "a", lost=5, refused=0, waits=1)) == []
    found = view.answered(3, answer("old", "a", lost=7, refused=1, waits=1))
    assert told(found) == ["lost  node=a proxy=p1 messages=2", "refused  node=a proxy=p1 messages=1"]
    view.proxy_said(4, said("node_joined", run="new"), 1.0)
    found = view.answered(5, answer("new", "b", lost=3))
    assert told(found) == ["node_joined  node=b proxy=p1", "lost  node=b proxy=p1 messages=3"]


def test_what_a_proxy_refuses_more_of_is_an_event() -> None:
    view = EventsView()
    assert view.announced(1, {"name": "p1", "refused": {"system": 3}}) == []
    assert view.announced(2, {"name": "p1", "refused": {"system": 5}}) == [
        Event(2, "refused", {"proxy": "p1", "kind": "system", "parts": 2})
    ]
    assert view.announced(3, {"name": "p1", "refused": {"system": 0}}) == []


def test_whatever_else_a_proxy_says_is_shown_as_it_is() -> None:
    view = EventsView()
    found = view.proxy_said(1, said("slow_reader_cut", door="out", why="took nothing", peers=["a", "b"]), 1.0)
    assert told(found) == ['slow_reader_cut  proxy=p1 door=out why="took nothing" peers=a,b']
    assert told(view.proxy_said(1, {**said("ready"), "untold": 7}, 1.0)) == [
        "untold  proxy=p1 events=7",
        "ready  proxy=p1",
    ]
    assert told(view.audited(1, {"event": "cut", "who": "ada", "unsaid": 0})) == ["cut  who=ada"]
    assert view.audited(1, {"event": "slow_reader_cut"}) == []  # it is told as an event, too
    assert words(view.service(1, "appeared", "clock", "i")) == "service_appeared  service=clock instance=i"


def test_it_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(events_view, "MAX_RUNS", 3)
    view = EventsView()
    for number in range(10):
        view.proxy_said(number, said("node_joined", run=f"r{number}"), 10.0)
    assert len(view._runs) == 3 and len(view.wanted()) == 3
    assert len(view.due(20.0)) == 10 and view._joined == {}


@given(PAYLOADS)
def test_whatever_a_peer_says_it_does_not_raise(payload: Any) -> None:
    view = EventsView()
    for value in (payload, said("node_joined", run=payload), said("x", y=payload), {"event": payload, "proxy": "p"}):
        for event in view.proxy_said(1, value, 1.0) + view.audited(1, value) + view.announced(1, value):
            assert words(event)
    view.announced(1, {"name": "p", "refused": payload})
    view.answered(1, {"answer": "stats", "node": "n", "proxy": "p", "run": "r", "lost": payload})
    assert all(isinstance(words(each), str) for each in view.due(99.0))

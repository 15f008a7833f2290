"""`Agent` on a real proxy and a real frame node: signing in, order of calls, chats, its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import NotAllowed, StateError
from nodes.agent.agent import Agent
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from tests.nodes.page.test_hosted_page import Watched
from tests.support.site import Site, site
from tests.support.waiting import Box, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def nodes(world: Site) -> Iterator[list[Node]]:
    found = [Node(world.base) for _ in range(3)]
    yield found
    for node in found:
        node.close()


class Ada(Agent):
    """An agent whose events are kept."""

    def __init__(self, node: Node, name: str = "ada", **options: Any) -> None:
        self.events = Box()
        super().__init__(node, name, name.title(), on_event=self.events, lease_s=3.0, **options)
        assert self.wait_ready(10)

    def wait(self, event: str, count: int = 1) -> dict[str, Any]:
        def of(items: list[Any]) -> list[Any]:
            return [item for item in items if item["event"] == event]

        found: dict[str, Any] = of(self.events.wait_for(lambda items: len(of(items)) >= count, f"{count} {event}"))[-1]
        return found


def with_snapshots(page: Watched) -> Watched:
    page.subscribe("~pagesession/cobrowsing/snapshot_request", lambda _: page.send_update("whole", snapshot=True))
    return page


def test_updates_come_in_order_and_end_with_its_own_stop(nodes: list[Node]) -> None:
    page = with_snapshots(Watched(nodes[0]))
    with Ada(nodes[1]) as ada:
        session = ada.join(page.code()).result(10)["session"]
        ada.wait("update")
        for number in range(200):
            page.send_update(number)
        ada.wait("update", 201)
        updates = [e for e in ada.events.items if e["event"] == "update"]
        assert [e["update"] for e in updates] == ["whole", *range(200)] and ada.stats()["gaps"] == 0
        ada.stop(session)
        page.wait("cobrowsing/stop")
        page.wait("/new_code")
        with pytest.raises(StateError):
            ada.stop(session)
    page.close()


def test_a_slow_handler_holds_the_confirmation_back(nodes: list[Node]) -> None:
    """The stop is not acknowledged while an update is being handled, and none is handled after it."""
    page, inside, go_on = with_snapshots(Watched(nodes[0])), threading.Event(), threading.Event()
    handled: list[Any] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "update" and not event["snapshot"]:
            handled.append(event["update"])
            inside.set()
            go_on.wait(10)

    with Agent(nodes[1], "bob", "Bob", on_event=on_event, lease_s=30.0) as bob:
        assert bob.wait_ready(10)
        session = bob.join(page.code()).result(10)["session"]
        until(lambda: page.send_update(0) and inside.wait(0.05), "an update is being handled")
        page.send_update(1)
        bob.stop(session)
        stop = page.stop_session()
        assert not stop.wait(0.5)
        count = len(handled)
        go_on.set()
        assert stop.wait(10) and len(handled) == count == 1
    page.close()


def test_two_agents_with_one_code_one_wins_and_the_other_is_told_why(nodes: list[Node]) -> None:
    page = Watched(nodes[0])
    with Ada(nodes[1]) as ada, Ada(nodes[2], "bob") as bob:
        code = page.code()
        outcomes = [future.exception(10) for future in (ada.join(code), bob.join(code))]
        lost = [error for error in outcomes if error is not None]
        assert len(lost) == 1 and isinstance(lost[0], UnknownContactCode) and "another agent" in str(lost[0])
        winner, other = (ada, bob) if outcomes[0] is None else (bob, ada)
        assert len(winner.pages()) == 1 and other.pages() == []
        assert "code" not in winner.pages()[0] or winner.pages()[0]["code"] is None
        with pytest.raises(LeaseExpired):
            other.request("stop", session=winner.pages()[0]["session"], epoch=1).result(10)
    page.close()


def test_chat_from_the_queue_both_ways(nodes: list[Node]) -> None:
    page = Watched(nodes[0], buttons=["help"])
    page.wait("help/disabled")
    with Ada(nodes[1], buttons=["help"]) as ada:
        ada.set_available(True)
        page.wait("help/enabled")
        page.publish("~pagesession/chat/trigger", {"button": "help"})
        session = ada.wait("chat_offered")["session"]
        with pytest.raises(StateError):
            ada.say(session, "too early")
        ada.decline(session).result(10)
        ada.wait("chat_withdrawn")
        with Ada(nodes[2], "bob", buttons=["help"]) as bob:
            bob.set_available(True)
            session = bob.wait("chat_offered")["session"]
            bob.accept(session).result(10)
            assert page.wait("chat/accepted") == {"agent": "bob", "button": "help"}
            ident = bob.say(session, "hello")
            first = page.wait("chat/message")
            assert [first[key] for key in ("from", "text", "id", "n", "by")] == ["Bob", "hello", ident, 1, "bob"]
            until(lambda: len(bob._spaces), "bob hears the page")
            said = {"from": "visitor", "text": "hi", "id": "1"}
            page.publish("~pagesession/chat/message", said)
            heard = bob.wait("chat_message")["message"]
            assert {**heard, **said, "n": 2, "by": "page"} == heard
            bob.stop_chat(session).result(10)
            page.wait("chat/stop")
            bob.wait("chat_closed")
            (over,) = bob.chats()
            assert [line["text"] for line in over["lines"]] == ["hello", "hi"] and over["open"] is False
            bob.dismiss(session)
            assert bob.chats() == []
        assert not any(e["event"] == "chat_message" for e in ada.events.items)
        ada.set_available(False)
        page.wait("help/disabled", 2)
    page.close()


def test_a_proactive_chat_is_taken_up_by_the_visitor(nodes: list[Node]) -> None:
    page = Watched(nodes[0])
    with Ada(nodes[1]) as ada:
        session = ada.join(page.code()).result(10)["session"]
        ada.proactive(session).result(10)
        assert page.wait("proactive/trigger") == {"agent": "ada"}
        ada.wait("chat_invited")
        page.publish("~pagesession/chat/trigger", {"button": "any"})
        ada.wait("chat_open")
        page.wait("chat/accepted")
    page.wait("chat/stop")
    page.close()


def test_other_messages_of_the_session_reach_the_agent(nodes: list[Node]) -> None:
    page = Watched(nodes[0])
    with Ada(nodes[1]) as ada:
        ada.join(page.code()).result(10)
        page.wait("snapshot_request")
        page.publish("~pagesession/mine/x", {"a": 1})
        found = ada.wait("message")
        assert found == {
            "event": "message",
            "session": ada.pages()[0]["session"],
            "topic": "~pagesession/mine/x",
            "payload": {"a": 1},
        }
    page.close()


def test_signed_in_again_it_takes_its_sessions_up(nodes: list[Node]) -> None:
    """Its process dies without a word and comes back within its lease."""
    page = with_snapshots(Watched(nodes[0]))
    first = Ada(nodes[1], secret="known")
    first.join(page.code()).result(10)
    first.wait("update")
    first._closed = True  # no word more
    nodes[1].detach(first)
    with Ada(nodes[2], secret="known") as again:
        again.wait("joined")
        again.wait("update")
    page.wait("cobrowsing/stop")
    page.close()
    first._frame_node.close()


def test_it_signs_in_again_when_its_lease_was_lost(nodes: list[Node]) -> None:
    page = Watched(nodes[0])
    with Ada(nodes[1]) as ada:
        ada.join(page.code()).result(10)
        ada._frame_node.sign_out()
        page.wait("cobrowsing/stop")
        ada.wait("stopped")
        ada.wait("lease_lost")
        ada.wait("signed_in", 2)
    page.close()


def test_an_event_handler_that_raises_is_logged_without_what_it_was_given(
    nodes: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    def bad(event: dict[str, Any]) -> None:
        raise ValueError("on purpose")

    with Agent(nodes[1], "eve", "Eve", on_event=bad) as eve:
        assert eve.wait_ready(10)
        until(lambda: "on purpose" in caplog.text, "it is logged")


def test_a_stop_is_confirmed_when_whoever_shows_the_updates_says_so(nodes: list[Node]) -> None:
    page, confirms = with_snapshots(Watched(nodes[0])), Box()
    with Ada(nodes[1], "fay", on_confirm=lambda session, confirm: confirms((session, confirm))) as fay:
        session = fay.join(page.code()).result(10)["session"]
        fay.wait("update")
        stop = page.stop_session()
        ((named, confirm),) = confirms.wait()
        assert named == session and fay.wait("stopped")["session"] == session
        assert not stop.wait(0.2)
        confirm()
        assert stop.wait(10)
    page.close()


def test_an_agent_that_goes_on_elsewhere_keeps_its_sessions(nodes: list[Node]) -> None:
    page = with_snapshots(Watched(nodes[0]))
    first = Ada(nodes[1], "gus", secret="known")
    session = first.join(page.code()).result(10)["session"]
    first.close(sign_out=False)
    with Ada(nodes[2], "gus", secret="known") as second:
        assert second.wait("joined")["session"] == session
        second.wait("update")
    page.close()


def test_it_asks_out_of_a_chat_and_takes_that_back(nodes: list[Node]) -> None:
    page = with_snapshots(Watched(nodes[0], buttons=["ask"]))
    page.code()
    with Ada(nodes[1], "hal", buttons=["ask"]) as hal:
        hal.set_available(True)
        page.wait("chat_button/ask/enabled")
        page.publish("~pagesession/chat/trigger", {"button": "ask"})
        session = hal.wait("chat_offered")["session"]
        assert hal.accept(session).result(10)["chat"] == "open"
        asked = hal.ask(session).result(10)
        assert (asked["cobrowse"], asked["capability"], asked["asked_by"]) == ("asked", "view", "chat")
        with pytest.raises(StateError):
            hal.ask(session).result(10)
        hal.stop(session)
        assert hal.wait("request_declined")["reason"] == "withdrawn"
        assert page.wait("cobrowsing/declined")["reason"] == "withdrawn"
        page.allow(hal.ask(session).result(10)["epoch"])
        hal.wait("joined")
        assert hal.wait("update")["update"] == "whole"
        hal.stop(session)
        page.wait("cobrowsing/stop")
        hal.say(session, "still here")
        assert page.wait("chat/message")["text"] == "still here"
        with pytest.raises(NotAllowed):
            hal.ask("s" * 22, "control").result(10)
    page.close()

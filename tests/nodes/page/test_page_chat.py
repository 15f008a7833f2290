"""The page's end of a chat: numbers, what is kept and for whom, what waits until both sides know that it is open."""

from __future__ import annotations

from typing import Any

from fabric.wire import Message
from nodes.page.interface import Effect, Event, LineKept, Send, SessionSpoke
from nodes.page.page_chat import MAX_EARLY, Kept, PageChat
from nodes.rules import topics
from nodes.rules.transcript import MAX_LINE_BYTES, ChatLine
from tests.support.page_world import World, state

AT = 100.0


def said(text: str, ident: str = "") -> dict[str, Any]:
    return {"from": "x", "text": text, "id": ident or text}


def sent(text: str, n: int) -> Send:
    """The visitor's line as it leaves."""
    return Send(topics.MESSAGE, {**said(text), "n": n, "by": "page", "at": AT})


def here(by: str, name: Any = "Ada") -> Message:
    return Message(topics.JOINED, {"agent": by, "name": name}, 7, 1, 0, {"by": by})


def opened(agent: str = "ada") -> PageChat:
    chat = PageChat("handle of {}".format)
    chat.opened(agent, AT)
    return chat


def handed(effects: list[Effect | Event]) -> dict[str, Any]:
    """What an agent is sent."""
    (sent,) = [each for each in effects if isinstance(each, Send)]
    assert sent.topic == topics.agent_chat("ada")
    return dict(sent.payload)


def test_both_sides_lines_are_numbered_in_the_order_in_which_they_were_heard() -> None:
    chat = opened()
    send, kept = chat.by_visitor(said("one"), AT)
    assert send == Send(topics.MESSAGE, {**said("one"), "n": 1, "by": "page", "at": AT})
    assert kept == LineKept("ada", ChatLine(1, "page", "x", "one", "one", AT))
    told, _ = chat.by_agent("ada", said("two"), AT)
    assert told == Event(topics.MESSAGE, {**said("two"), "n": 2, "by": "ada", "at": AT})
    assert chat.by_visitor(said("one"), AT + 1) == [send], "said again after a loss, it is the same line"


def test_the_agent_who_has_the_chat_is_sent_what_was_said_and_nobody_else() -> None:
    chat = opened()
    chat.by_visitor(said("one"), AT)
    first = chat.joined(here("ada"), AT)
    assert first[0] == Event(topics.JOINED, {"agent": "ada", "name": "Ada", "at": AT})
    lines = [ChatLine(1, "page", "x", "one", "one", AT).as_map()]
    assert handed(first) == {"session": "handle of ada", "lines": lines, "dropped": 0}
    assert len(chat.joined(here("ada"), AT)) == 1, "who it is was told"
    assert chat.joined(here("bob"), AT) == []
    assert chat.joined(here("ada")._replace(headers={}), AT) == [], "said by nobody"
    assert chat.joined(here("ada")._replace(payload=1), AT) == []
    chat.ended()
    assert chat.joined(here("ada"), AT) == [], "over"


def test_the_next_agent_is_sent_nothing_of_the_chat_before() -> None:
    chat = opened("bob")
    chat.by_visitor(said("for bob"), AT)
    chat.ended()
    assert chat.kept() is not None, "the visitor can read it still"
    chat.opened("ada", AT)
    chat.by_visitor(said("for ada"), AT)
    lines = handed(chat.joined(here("ada"), AT))["lines"]
    assert [(each["n"], each["text"]) for each in lines] == [(2, "for ada")]


def test_what_is_said_before_the_chat_is_open_waits_for_it_and_what_comes_after_its_end_is_refused() -> None:
    chat = PageChat("handle of {}".format)
    assert chat.by_visitor(said("soon"), AT, soon=True) == []
    assert chat.by_agent("ada", said("hello"), AT) == chat.by_agent("bob", said("not mine"), AT) == []
    effects = chat.opened("ada", AT)
    assert [each.payload["text"] for each in effects if isinstance(each, Send | Event)] == ["soon", "hello"]
    assert chat.opened("ada", AT) == [], "it is open"
    chat.ended()
    (refused,) = chat.by_visitor(said("late"), AT)
    assert isinstance(refused, Event) and refused.topic == topics.REFUSED and refused.payload["what"] == "message"
    assert chat.by_agent("ada", said("late"), AT) == []


def test_no_more_waits_than_may() -> None:
    chat = PageChat("handle of {}".format)
    for n in range(2 * MAX_EARLY):
        chat.by_visitor(said(f"v{n}"), AT, soon=True)
        chat.by_agent("ada", said(f"a{n}"), AT)
    assert len([each for each in chat.opened("ada", AT) if isinstance(each, Send | Event)]) == 2 * MAX_EARLY


def test_a_dismissed_chat_is_kept_no_more_but_an_open_one_stays() -> None:
    chat = opened()
    chat.by_visitor(said("one"), AT)
    chat.dismissed()
    assert chat.kept() == Kept("ada", (ChatLine(1, "page", "x", "one", "one", AT),))
    chat.ended()
    chat.dismissed()
    assert chat.kept() is None


def test_lines_that_were_kept_elsewhere_count_again_if_the_agent_is_the_same() -> None:
    lines = (ChatLine(4, "page", "x", "one", "one", AT), ChatLine(6, "ada", "Ada", "two", "two", AT))
    chat = PageChat("handle of {}".format, Kept("ada", lines, 3))
    chat.opened("ada", AT)
    assert chat.by_visitor(said("three"), AT)[0] == sent("three", 7)
    assert [each["n"] for each in handed(chat.joined(here("ada"), AT))["lines"]] == [4, 6, 7]
    assert chat.transcript.dropped == 3
    other = PageChat("handle of {}".format, Kept("bob", lines))
    other.opened("ada", AT)
    assert handed(other.joined(here("ada"), AT))["lines"] == []


def test_what_is_too_long_or_no_text_is_said_and_not_kept() -> None:
    chat = opened()
    assert chat.by_visitor("odd", AT) == [Send(topics.MESSAGE, "odd")]
    (send,) = chat.by_visitor(said("x" * (MAX_LINE_BYTES + 1), "i"), AT)
    assert isinstance(send, Send) and send.payload["n"] == 1 and chat.transcript.dropped == 1
    assert chat.by_visitor(said("next"), AT)[0] == sent("next", 2)


# --- within a page


def in_chat() -> World:
    world = World().ready()
    world.hear(state(2, chat="open", chat_agent="ada", visibility="shown"))
    world.told.clear()
    return world


def by_ada(topic: str, payload: Any) -> SessionSpoke:
    return SessionSpoke(Message(topic, payload, 7, 1, 0, {"by": "ada"}))


def test_a_frame_that_is_closed_is_minimised_by_a_line_of_the_agent() -> None:
    world = in_chat()
    world.publish(topics.HIDE)
    world.answer(state(3, chat="open", chat_agent="ada", visibility="hidden"), "set_visibility")
    world.told.clear()
    world.handle(by_ada(topics.MESSAGE, said("hello")))
    assert [topic for topic, _ in world.told] == [topics.MESSAGE, topics.MINIMISE]
    assert world.last("set_visibility").body["event"] == "announce"
    world.handle(by_ada(topics.MESSAGE, said("again")))
    assert world.operations().count("set_visibility") == 2, "it is minimised already"


def test_only_the_agent_who_has_the_chat_is_heard_in_it() -> None:
    world = in_chat()
    bob = Message(topics.MESSAGE, said("evil"), 7, 1, 0, {"by": "bob"})
    world.handle(SessionSpoke(bob))
    assert world.told == []
    world.handle(by_ada(topics.JOINED, {"agent": "ada", "name": "Ada"}))
    assert world.topics() == ["chat/joined"]
    assert world.sent[-1].topic == topics.agent_chat("ada")


def test_presence_is_told_only_while_a_chat_is_open() -> None:
    world = in_chat()
    assert world.core.send_presence(0.5, True) == [Send(topics.PRESENCE, {"silent_s": 0.5, "open": True}, at_once=True)]
    world.publish(topics.CHAT_STOPPED)
    assert world.core.send_presence(0.5, True) == []
    world.publish(topics.MESSAGE, said("late"))
    assert world.topics()[-2:] == ["chat/message", "refused"]

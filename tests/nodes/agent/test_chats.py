"""The chats of an agent: what was said, in order and once; whether the visitor is there; what is left to be read."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.agent.chats import AWAY_S, MAX_ENDED, SILENT_S, Chat, Chats
from nodes.rules.transcript import ChatLine


def line(n: int, by: str = "page", ident: str = "") -> ChatLine:
    return ChatLine(n, by, by, f"t{n}", ident or f"i{n}", 1.0)


def test_a_line_is_news_once_and_a_hole_before_it_is_seen() -> None:
    chat = Chat("s")
    assert chat.heard(line(1)) == (True, False)
    assert chat.heard(line(1)) == (False, False)
    assert chat.heard(line(3)) == (True, True)
    chat.transcript.add(ChatLine(0, "ada", "Ada", "mine", "m", 1.0))
    assert chat.heard(line(5)) == (True, False), "the agent's own line stands between"


def test_what_is_handed_over_is_news_only_if_something_of_it_was_not_known() -> None:
    chat = Chat("s")
    chat.transcript.add(ChatLine(0, "ada", "Ada", "mine", "i2", 1.0))
    assert chat.handed_over([line(1), line(2, "ada")], 0)
    assert [each["n"] for each in chat.as_map()["lines"]] == [1, 2]
    assert not chat.handed_over([line(1), line(2, "ada")], 0)
    assert chat.handed_over([], 4) and chat.as_map()["dropped"] == 4


@pytest.mark.parametrize(
    ("silent_s", "is_open", "away"),
    [(0.0, True, None), (AWAY_S - 0.1, False, None), (AWAY_S, False, True), (SILENT_S, True, True)],
)
def test_when_a_visitor_is_away(silent_s: float, is_open: bool, away: Any) -> None:
    chat = Chat("s")
    assert chat.saw(silent_s, is_open, 10.0) is away
    if away:
        assert chat.saw(silent_s, is_open, 10.0) is None, "told once"
        assert chat.saw(0.0, True, 11.0) is False
        assert chat.saw(0.0, True, 11.0) is None


def test_who_is_not_heard_of_any_more_is_away_but_nobody_who_never_was() -> None:
    chat = Chat("s")
    assert chat.tick(1e9) is None
    chat.saw(1.0, True, 10.0)
    assert chat.tick(9.0 + SILENT_S - 0.1) is None and chat.tick(9.0 + SILENT_S) is True
    chat.end()
    assert chat.is_away is False and chat.tick(1e9) is None


def test_a_chat_is_kept_until_it_is_dismissed_or_another_begins() -> None:
    chats = Chats()
    chats.said("s", line(0, "ada"))
    assert chats.all() == []
    chats.opened("s")
    chats.said("s", line(0, "ada"))
    chats.opened("s")
    assert len(chats.all()) == 1 and not chats.dismiss("s"), "open"
    chats.ended("s")
    assert chats.open("s") is None and chats.get("s") is not None
    chats.opened("s")
    found = chats.open("s")
    assert found is not None and len(found.transcript) == 0
    chats.ended("s")
    chats.ended("s")
    assert chats.all() == [], "nothing to be read"
    chats.opened("s")
    chats.said("s", line(0, "ada"))
    chats.ended("s")
    assert chats.dismiss("s") and not chats.dismiss("s")


def test_of_many_that_have_ended_the_first_goes() -> None:
    chats = Chats()
    for n in range(MAX_ENDED + 5):
        chats.opened(f"s{n}")
        chats.said(f"s{n}", line(0, "ada"))
        chats.ended(f"s{n}")
    assert [chat.session for chat in chats.all()] == [f"s{n}" for n in range(5, MAX_ENDED + 5)]

"""Messages from browsers: each field is checked, and nothing that comes raises anything but Malformed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from nodes.gateway.browser_messages import (
    AGENT,
    PAGE,
    Available,
    BrowserMessage,
    ChatRequest,
    EndCobrowse,
    Hello,
    PageMessage,
    Ping,
    Publish,
    Retry,
    StopCobrowse,
    Update,
    fields_of,
)
from nodes.gateway.browser_protocol import Malformed, parse_agent, parse_page

HELLO = {"t": "hello", "v": 1, "origin": "https://a.org", "instance": "i" * 22}


def page(**fields: Any) -> PageMessage:
    return parse_page(json.dumps(fields))


def test_a_message_has_exactly_its_fields_and_their_defaults() -> None:
    hello = Hello(t="hello", v=1, origin="https://a.org", instance="i" * 22, token=None, seen=None, title=None)
    assert page(**HELLO, more=1) == hello and hello.buttons == ()
    assert page(**HELLO, buttons=["help", "sales"]) == replace(hello, buttons=("help", "sales"))
    assert page(t="publish", topic="a", payload={"x": [1, None]}) == Publish(
        t="publish", id=None, topic="a", payload={"x": [1, None]}
    )
    assert page(t="update", epoch=1, event=None) == Update(t="update", epoch=1, n=None, event=None, snapshot=False)
    assert page(t="retry", id=5) == Retry(t="retry"), "it has no answer that could name an id"
    assert parse_agent('{"t":"available","on":true}') == Available(t="available", on=True, buttons=None)


def test_the_kind_says_which_message_it_is() -> None:
    assert page(t="stop", id=1) == StopCobrowse(t="stop", id=1)
    session = "s" * 16
    assert parse_agent(json.dumps({"t": "stop", "id": 1, "session": session})) == EndCobrowse(
        t="stop", id=1, session=session
    )
    for operation in ("accept", "decline", "stop_chat", "proactive"):
        asked = parse_agent(json.dumps({"t": operation, "id": 2, "session": session}))
        assert asked == ChatRequest(t=operation, id=2, session=session)


def test_a_payload_is_read_as_everywhere_in_the_fabric() -> None:
    match page(t="publish", topic="a", payload={"$bin": "AAE="}):
        case Publish(payload=payload):
            assert payload == b"\0\1"
        case other:
            pytest.fail(f"{other}")
    with pytest.raises(Malformed, match="base64"):
        page(t="publish", topic="a", payload={"$bin": "?"})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "expected `t` to be"), ({"t": "dance"}, "expected `t` to be"), ({"t": 1}, "expected `t` to be"),
        ({"t": "subscribe", "id": 1}, "missing `filter`"), ({"t": "subscribe", "filter": "a"}, "missing `id`"),
        ({"t": "subscribe", "id": 0, "filter": "a"}, "invalid `id`"),
        ({"t": "subscribe", "id": True, "filter": "a"}, "invalid `id`"),
        ({"t": "subscribe", "id": 1.0, "filter": "a"}, "invalid `id`"),
        ({"t": "subscribe", "id": 2**60, "filter": "a"}, "invalid `id`"),
        ({"t": "publish", "topic": 7}, "invalid `topic`"), ({**HELLO, "v": 2}, "invalid `v`"),
        ({**HELLO, "instance": "short"}, "invalid `instance`"), ({**HELLO, "seen": -1}, "invalid `seen`"),
        ({**HELLO, "buttons": ["a b"]}, "invalid `buttons`"), ({**HELLO, "buttons": None}, "invalid `buttons`"),
        ({**HELLO, "buttons": ["a"] * 101}, "invalid `buttons`"), ({"t": "update", "epoch": "1"}, "invalid `epoch`"),
        ({"t": "update", "epoch": 1, "snapshot": 1}, "invalid `snapshot`"),
        ({"t": "update", "epoch": 1, "n": 0}, "invalid `n`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_was_expected(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        page(**fields)


def test_the_error_knows_kind_and_id_but_repeats_no_secret() -> None:
    with pytest.raises(Malformed) as caught:
        page(t="subscribe", id=7, filter=None)
    assert (caught.value.of, caught.value.ident) == ("subscribe", 7)
    with pytest.raises(Malformed) as caught:
        page(**{**HELLO, "token": "very secret" * 200})
    assert "very secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "null", "7", '"t"', "[" * 100_000, '{"t":NaN}', "1" * 10_000])
def test_what_is_no_json_object_is_malformed(text: str) -> None:
    for parse in (parse_page, parse_agent):
        with pytest.raises(Malformed):
            parse(text)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400])
def test_a_ping_that_could_not_be_answered_in_json_is_malformed(number: str) -> None:
    with pytest.raises(Malformed):
        parse_agent(f'{{"t":"ping","at":{number}}}')
    assert parse_agent('{"t":"ping","at":1.5}') == Ping(t="ping", at=1.5)


def test_whatever_comes_only_malformed_is_raised() -> None:
    """Seeded: real messages with values of all kinds in all fields, and with bytes of their text changed."""
    draw = random.Random(5)
    values = [None, True, 0, -1, 1, 2**70, 1.5, "", "x", "~/x", [], ["x"], {}, {"$bin": 3}, {"$map": 1}, "\ud800"]
    taken = 0
    rooms: list[tuple[Mapping[str, type[BrowserMessage]], Callable[[str], BrowserMessage]]]
    rooms = [(PAGE, parse_page), (AGENT, parse_agent)]
    for kinds, parse in rooms:
        for _ in range(3_000):
            kind = draw.choice(list(kinds))
            message = {
                "t": kind,
                **{name: draw.choice(values) for name in fields_of(kinds[kind]) if draw.random() < 0.9},
            }
            text = json.dumps(message)
            if draw.random() < 0.5:
                at = draw.randrange(len(text))
                text = text[:at] + draw.choice('{}[]",:0\\x\0') + text[at + draw.randrange(3) :]
            try:
                found = parse(text)
            except Malformed as error:
                assert str(error)
            else:
                taken += 1
                assert type(found) is kinds[found.t]
                for name, (what, _) in fields_of(type(found)).items():
                    assert what.payload or what.fits(getattr(found, name))
    assert taken > 100

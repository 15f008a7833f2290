"""Messages from browsers: each field is checked, and nothing that comes raises anything but Malformed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from nodes.gateway import browser_protocol
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
from nodes.gateway.browser_protocol import (
    MAX_VALUES,
    Malformed,
    holds_more_than,
    is_update,
    parse_agent,
    parse_page,
)

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
    assert page(t="update", epoch=1, event="x") == Update(t="update", epoch=1, n=None, event="x", snapshot=False)
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
        ({"t": "update", "epoch": 1, "event": "", "snapshot": 1}, "invalid `snapshot`"),
        ({"t": "update", "epoch": 1, "n": 0}, "invalid `n`"), ({"t": "update", "epoch": 1}, "missing `event`"),
        ({"t": "update", "epoch": 1, "event": []}, "invalid `event`"),
        ({"t": "update", "epoch": 1, "event": {"$map": {}}}, "invalid `event`"),
        ({"t": "update", "epoch": 1, "event": {"$bin": []}}, "invalid `event`"),
        ({"t": "subscribe", "id": 1, "filter": "news/" + "x" * 508}, "invalid `filter`: .*512 bytes"),
        ({"t": "subscribe", "id": 1, "filter": "news/" + "é" * 254}, "invalid `filter`: .*512 bytes"),
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


LISTS = ",".join(["[]"] * 1_300_000)
WIDE = {
    "lists": '{"t":"update","epoch":1,"event":[' + LISTS + "]}",
    "maps": '{"t":"update","epoch":1,"event":[' + ",".join(["{}"] * 1_300_000) + "]}",
    "nested maps": '{"t":"update","epoch":1,"event":' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}",
    "numbers": '{"t":"update","epoch":1,"event":"","x":[' + "1," * 2_000_000 + "1]}",
    "names": '{"t":"update","epoch":1,"event":"","x":{' + ",".join(f'"{n}":1' for n in range(300_000)) + "}}",
    "strings": '{"t":"update","epoch":1,"event":"","x":{' + '""' * 1_900_000 + "," * 30_000,
    "a string that never ends": '{"t":"update' + '\\"' * 1_900_000 + "," * 30_000,
    "a payload": '{"t":"publish","topic":"news/a","payload":[' + "[]," * 80_000 + "1]}",
}


@pytest.mark.parametrize("what", WIDE)
def test_what_holds_very_many_values_is_refused_before_it_is_decoded(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    monkeypatch.setattr(browser_protocol, "from_json", lambda value: decoded.append(1))
    loads = json.loads

    def counted(text: str, **options: Any) -> Any:
        decoded.append(len(text))
        return loads(text, **options)

    monkeypatch.setattr("nodes.gateway.browser_protocol.json.loads", counted)
    began_s = time.thread_time()
    with pytest.raises(Malformed):
        parse_page(WIDE[what])
    took_s = time.thread_time() - began_s  # of this thread's CPU, whatever else the machine does
    small = what == "a string that never ends"  # of no more than one value
    assert (decoded == [] or small) and took_s < 0.25


def test_a_large_update_is_one_value_whatever_its_text_holds() -> None:
    event = json.dumps([{"type": 2, "node": {"id": n, "text": '"quoted", {and} [more]\\'}} for n in range(30_000)])
    match page(t="update", epoch=1, event=event, snapshot=True):
        case Update(event=text):
            assert text == event
        case other:
            pytest.fail(f"{other}")


@pytest.mark.parametrize(
    ("text", "most", "more"),
    [("[1,2]", 2, False), ("[1,2]", 1, True), ('"[,{[,{"', 1, False), ('"\\"[,{" ', 1, False), ('"\\\\"[[', 1, True),
     ('"[,', 1, False), ('"\\[,', 1, False), ('{"a":"b"}', 1, False), ("", 0, False)],
)  # fmt: skip
def test_brackets_and_commas_count_outside_of_strings_only(text: str, most: int, more: bool) -> None:
    assert holds_more_than(text, most) is more


def test_never_fewer_values_are_counted_than_json_has() -> None:
    """Seeded: what is let through holds at most so many values, keys of maps not counted."""
    draw = random.Random(7)

    def made(depth: int) -> tuple[Any, int]:
        kind = draw.randrange(4 if depth else 2)
        if kind < 2:
            return draw.choice([1, None, '"', "\\", '\\"[', "{,", 'x"y']), 1
        parts = [made(depth - 1) for _ in range(draw.randrange(4))]
        values = [part for part, _ in parts]
        count = 1 + sum(size for _, size in parts)
        return (values if kind == 2 else {f'k"{n}': value for n, value in enumerate(values)}), count

    for _ in range(2_000):
        value, count = made(4)
        text = json.dumps(value)
        assert holds_more_than(text, count - 2) or count < 2, text
        assert not holds_more_than(text, 2 * count), text
    assert MAX_VALUES < 100_000


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"t":"update","epoch":1', True), (' {"t" : "update"', True), ('{"t":"updates"', False),
     ('{"t":"publish"', False), ('{"epoch":1,"t":"update"}', False), ("", False), (" " * 100_000, False)],
)  # fmt: skip
def test_an_update_is_known_by_its_first_bytes(text: str, found: bool) -> None:
    assert is_update(text) is found


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

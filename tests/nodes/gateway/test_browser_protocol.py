"""Frames from browsers: each field is checked, and nothing that comes raises anything but Malformed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from nodes.gateway.browser_protocol import AGENT, PAGE, Malformed, parse_agent, parse_page

HELLO = {"t": "hello", "v": 1, "origin": "https://a.org", "instance": "i" * 22}


def page(**frame: Any) -> dict[str, Any]:
    return parse_page(json.dumps(frame))


def test_a_frame_has_exactly_its_fields_and_their_defaults() -> None:
    assert page(**HELLO, more=1) == {**HELLO, "token": None, "seen": None, "buttons": (), "title": None}
    assert page(t="publish", topic="a", payload={"x": [1, None]}) == {
        "t": "publish", "id": None, "topic": "a", "payload": {"x": [1, None]},
    }  # fmt: skip
    assert page(t="update", epoch=1, event=None) == {
        "t": "update", "epoch": 1, "n": None, "event": None, "snapshot": False,
    }  # fmt: skip
    assert page(t="retry", id=5) == {"t": "retry"}
    assert parse_agent('{"t":"available","on":true}') == {"t": "available", "on": True, "buttons": None}


def test_a_payload_is_read_as_everywhere_in_the_fabric() -> None:
    assert page(t="publish", topic="a", payload={"$bin": "AAE="})["payload"] == b"\0\1"
    with pytest.raises(Malformed, match="base64"):
        page(t="publish", topic="a", payload={"$bin": "?"})


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ({}, "`t` must be one of"), ({"t": "dance"}, "`t` must be one of"), ({"t": 1}, "`t` must be one of"),
        ({"t": "subscribe", "id": 1}, "`filter` is missing"), ({"t": "subscribe", "filter": "a"}, "`id` is missing"),
        ({"t": "subscribe", "id": 0, "filter": "a"}, "`id` is not right"),
        ({"t": "subscribe", "id": True, "filter": "a"}, "`id` is not right"),
        ({"t": "subscribe", "id": 1.0, "filter": "a"}, "`id` is not right"),
        ({"t": "subscribe", "id": 2**60, "filter": "a"}, "`id` is not right"),
        ({"t": "publish", "topic": 7}, "`topic` is not right"), ({**HELLO, "v": 2}, "`v` is not right"),
        ({**HELLO, "instance": "short"}, "`instance` is not right"), ({**HELLO, "seen": -1}, "`seen` is not right"),
        ({**HELLO, "buttons": ["a b"]}, "`buttons` is not right"), ({**HELLO, "buttons": None}, "`buttons` is not"),
        ({**HELLO, "buttons": ["a"] * 101}, "`buttons` is not right"), ({"t": "update", "epoch": "1"}, "`epoch`"),
        ({"t": "update", "epoch": 1, "snapshot": 1}, "`snapshot`"), ({"t": "update", "epoch": 1, "n": 0}, "`n`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_would_be_right(frame: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        page(**frame)


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
    assert parse_agent('{"t":"ping","at":1.5}')["at"] == 1.5


def test_whatever_comes_only_malformed_is_raised() -> None:
    """Seeded: real frames with values of all kinds in all fields, and with bytes of their text changed."""
    draw = random.Random(5)
    values = [None, True, 0, -1, 1, 2**70, 1.5, "", "x", "~/x", [], ["x"], {}, {"$bin": 3}, {"$map": 1}, "\ud800"]
    taken = 0
    for kinds, parse in ((PAGE, parse_page), (AGENT, parse_agent)):
        for _ in range(3_000):
            kind = draw.choice(list(kinds))
            frame = {"t": kind, **{name: draw.choice(values) for name in kinds[kind] if draw.random() < 0.9}}
            text = json.dumps(frame)
            if draw.random() < 0.5:
                at = draw.randrange(len(text))
                text = text[:at] + draw.choice('{}[]",:0\\x\0') + text[at + draw.randrange(3) :]
            try:
                found = parse(text)
            except Malformed as error:
                assert str(error)
            else:
                taken += 1
                assert set(found) == {"t", *kinds[found["t"]]}
    assert taken > 100

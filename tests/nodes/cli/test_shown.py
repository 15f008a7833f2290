"""What is shown of messages: templates that reach nothing else, conditions, rates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.wire import Message
from nodes.cli import shown
from nodes.cli.shown import Field, Output, Rates, Until, rfc3339
from tests.support.payload_strategies import PAYLOADS

AT_NS = 1_769_860_800_123_456_789  # 2026-01-31T12:00:00.123Z


def message(payload: Any = None, **headers: Any) -> Message:
    return Message("truck/1", payload, 7, 3, AT_NS, headers)


@pytest.mark.parametrize(
    ("template", "payload", "line"),
    [
        ("{topic} {payload.temp} {sent}", {"temp": 21.5}, "truck/1 21.5 2026-01-31T12:00:00.123Z"),
        (r"{topic}\t{payload}", {"a": [1, "x"]}, 'truck/1\t{"a":[1,"x"]}'),
        (r"{{{number}}} \\n\n{publisher}", None, "{3} \\n\n7"),
        ("{payload}", "text as it is", "text as it is"),
        ("{payload}", "two\nlines \x1b[31m", "two\\u000alines \\u001b[31m"),
        ("{payload}", b"\x00", '{"$bin":"AA=="}'),
        ("{payload}|{payload.a}|{headers.b}|{retained}", None, "null|-|-|-"),
        ("{payload.list.1.name}", {"list": [0, {"name": "x"}]}, "x"),
        ("{payload.list.2}|{payload.list.x}|{payload.list.-1}", {"list": [0, 1]}, "-|-|-"),
        ("{payload.a}|{payload.b.c}", {"a": None, "b": "text"}, "null|-"),
        ("{sent_ns}", None, str(AT_NS)),
        ("no field", None, "no field"),
        ("", None, ""),
    ],
)
def test_a_template_becomes_a_line(template: str, payload: Any, line: str) -> None:
    assert Output(template).line(message(payload)) == line


def test_headers_and_the_mark_of_retained_values() -> None:
    output = Output("{headers.trace} {headers} {retained}")
    assert output.line(message(trace="t", retained=True)) == 't {"trace":"t","retained":true} retained'


@pytest.mark.parametrize(
    "template",
    ["{", "{topic", "}", "{}", "{0}", "{nothing}", "{topic.upper}", "{payload[0]}", "{payload:>10}", "{payload!r}",
     "{payload.}", "{payload..a}", "{sent.x}", "{__class__}"],
)  # fmt: skip
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="invalid template"):
        Output(template)


def test_keys_that_look_like_python_are_only_keys() -> None:
    assert Output("{payload.__class__}").line(message({})) == "-"
    assert Output("{payload.__class__}").line(message({"__class__": 1})) == "1"


@given(PAYLOADS)
def test_every_payload_is_shown_in_one_line(payload: Any) -> None:
    line = Output("{payload} {payload.a.0}").line(message(payload))
    assert "\n" not in line and "\x1b" not in line


@pytest.mark.parametrize(
    ("condition", "payload", "expected"),
    [
        ("payload.done", {"done": True}, True),
        ("payload.done", {"done": 0}, True),
        ("payload.done", {"done": False}, False),
        ("payload.done", {"done": None}, False),
        ("payload.done", {}, False),
        ("payload.state=ready", {"state": "ready"}, True),
        ("payload.state = ready ", {"state": "ready"}, True),
        ("payload.state==ready", {"state": "busy"}, False),
        ("payload.state!=ready", {"state": "busy"}, True),
        ("payload.state!=ready", {}, False),
        ("payload>=90", 90, True),
        ("payload>=90", 90.5, True),
        ("payload<90", 90, False),
        ("payload>90", "91", False),
        ('payload="90"', "90", True),
        ("payload=true", True, True),
        ("payload=1", True, False),
        ("payload=null", None, True),
        ("payload<null", None, False),
        ("payload<{}", {}, False),
        ("topic=truck/1", None, True),
        ("sent>=2026-01-31", None, True),
        ("sent>=2026-02-01", None, False),
    ],
)
def test_conditions(condition: str, payload: Any, expected: bool) -> None:
    assert Until(condition).is_met(message(payload)) is expected


@pytest.mark.parametrize("condition", ["", "nothing", "payload=", "=1", "payload.a b", 'payload={"$bin": 1}'])
def test_what_is_no_condition_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match=r"invalid (condition|field)"):
        Until(condition)


@given(st.text())
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        until = Until(text)
    except ValueError:
        return
    assert until.is_met(message({"a": 1})) in (True, False)


def test_times_that_nobody_has_are_shown_as_they_are() -> None:
    assert rfc3339(2**64 - 1).startswith("2554-") and rfc3339(10**30) == str(10**30)
    assert Field("sent").of(message()) == "2026-01-31T12:00:00.123Z"


def test_rates_are_told_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MAX_TOPICS", 2)
    rates = Rates(10.0, as_json=False)
    assert rates.due(10.5, AT_NS) == [] and rates.due(10.5, AT_NS, last=True) == []
    for topic in ("a", "b", "a", "c"):
        rates.take(message()._replace(topic=topic))
    assert rates.due(12.0, AT_NS) == ["2026-01-31T12:00:00.123Z  2/s  2 topics  4 in all"]
    rates.take(message())
    assert rates.due(12.5, AT_NS) == []
    assert rates.due(12.5, AT_NS, last=True) == ["2026-01-31T12:00:00.123Z  2/s  1 topics  5 in all"]


def test_rates_as_json() -> None:
    rates = Rates(10.0, as_json=True)
    rates.take(message())
    (line,) = rates.due(12.0, AT_NS)
    assert json.loads(line) == {
        "at": "2026-01-31T12:00:00.123Z", "seconds": 2.0, "messages": 1, "topics": 1, "total": 1, "rate": 0.5
    }  # fmt: skip

"""What may be a payload and what may not, whatever is nested in it; and JSON, there and back."""

from __future__ import annotations

import collections
import enum
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given

from fabric.errors import LocalWireError
from fabric.payloads import MAX_NESTING, dumps, flaw, from_json, to_json
from tests.support.payload_strategies import NO_PAYLOADS, PAYLOADS, nested, shared_many_times

LIMIT = 1_000_000


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    pass


Point = collections.namedtuple("Point", "x y")


@given(PAYLOADS)
def test_payloads_have_no_flaw(payload: Any) -> None:
    assert flaw(payload, LIMIT) is None


@pytest.mark.parametrize("around", [lambda x: x, lambda x: [1, "a", x], lambda x: {"k": x}, lambda x: (x,) * 10])
@pytest.mark.parametrize("bad", NO_PAYLOADS.values(), ids=NO_PAYLOADS.keys())
def test_what_is_no_payload_is_none_within_another_either(bad: Any, around: Any) -> None:
    assert flaw(around(bad), LIMIT)


@pytest.mark.parametrize(
    "payload",
    [
        Colour.RED,
        [Colour.RED] * 10,
        Name("x"),
        {Name("k"): 1},
        Point(1, 2),
        collections.OrderedDict(a=1),
        bytearray(b"x"),
    ],
    ids=repr,
)
def test_instances_of_subclasses_count_as_what_they_are_packed_as(payload: Any) -> None:
    assert flaw(payload, LIMIT) is None
    assert flaw([payload], LIMIT) is None


def test_nesting_ends_at_64() -> None:
    assert flaw(nested(MAX_NESTING), LIMIT) is None
    assert flaw(nested(MAX_NESTING, "x"), LIMIT) is None
    assert flaw(nested(MAX_NESTING + 1), LIMIT)
    assert flaw([1] * 20 + [nested(MAX_NESTING)], LIMIT)


def test_a_flaw_says_what_would_be_right() -> None:
    assert "expected a str, not builtins.int" in str(flaw({1: 2}, LIMIT))
    assert "invalid payload of type builtins.set" in str(flaw([{1}], LIMIT))
    assert "flatten" in str(flaw(nested(65), LIMIT))
    assert "send less" in str(flaw("x" * 11, 10))


@pytest.mark.parametrize(
    "payload",
    ["x" * 100, b"x" * 100, [0] * 100, ["xxxx"] * 30, {str(k): k for k in range(50)}, {"k" * 100: 1}, [b"x" * 60] * 2],
    ids=lambda payload: repr(payload)[:20],
)
def test_what_is_surely_larger_than_the_limit_is_refused_before_packing(payload: Any) -> None:
    assert "larger" in str(flaw(payload, 99))
    assert flaw(payload, 1000) is None


def test_a_value_shared_a_million_million_times_costs_no_more_than_the_limit() -> None:
    before = time.process_time()
    assert "larger" in str(flaw(shared_many_times(), LIMIT))
    assert time.process_time() - before < 5


@given(PAYLOADS)
def test_json_there_and_back(payload: Any) -> None:
    text = json.dumps(to_json(payload), allow_nan=False)
    back = from_json(json.loads(text))
    assert back == payload
    assert repr(back) == repr(payload)  # types too: 1, 1.0 and True are equal, and so are 0.0 and -0.0


def test_json_of_what_json_does_not_know() -> None:
    assert to_json(b"\x00\xff") == {"$bin": "AP8="}
    assert to_json([math.inf, -math.inf]) == [{"$float": "inf"}, {"$float": "-inf"}]
    assert to_json(math.nan) == {"$float": "nan"}
    assert math.isnan(from_json(to_json(math.nan)))
    assert to_json((1, bytearray(b"x"))) == [1, {"$bin": "eA=="}]


def test_a_map_that_looks_like_a_mark_is_wrapped() -> None:
    assert to_json({"$bin": "eA=="}) == {"$map": {"$bin": "eA=="}}
    assert from_json({"$map": {"$bin": "eA=="}}) == {"$bin": "eA=="}
    assert to_json({"$map": 1}) == {"$map": {"$map": 1}}
    assert to_json({"$bin": 1, "b": 2}) == {"$bin": 1, "b": 2}
    assert from_json({"$bin": 1, "b": 2}) == {"$bin": 1, "b": 2}
    assert to_json({"$bin": b"x"}) == {"$map": {"$bin": {"$bin": "eA=="}}}


def test_the_deepest_payload_goes_through_json() -> None:
    deepest: Any = b"x"
    for _ in range(MAX_NESTING):
        deepest = {"$map": deepest}
    assert from_json(to_json(deepest)) == deepest


@pytest.mark.parametrize("bad", NO_PAYLOADS.values(), ids=NO_PAYLOADS.keys())
def test_only_payloads_become_json(bad: Any) -> None:
    with pytest.raises(LocalWireError):
        to_json(bad)


@pytest.mark.parametrize(
    "bad",
    [{"$bin": "no base64!"}, {"$bin": "eA="}, {"$bin": 1}, {"$bin": "é"}, {"$float": "1"}, {"$float": []}, {"$map": 1}],
    ids=repr,
)
def test_marks_that_hold_nonsense_are_refused(bad: Any) -> None:
    for value in (bad, [bad], {"k": bad}, {"$map": {"$bin": bad}}):
        with pytest.raises(LocalWireError):
            from_json(value)


def test_json_from_outside_may_not_nest_without_end() -> None:
    with pytest.raises(LocalWireError, match="flatten"):
        from_json(nested(500))


def test_dumps_writes_one_line_of_strict_json() -> None:
    assert dumps({"a": [1, None, True], "ü": "x\ny\u2028"}) == '{"a":[1,null,true],"ü":"x\\ny\u2028"}'
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            dumps([value])
    for odd in (b"x", {1, 2}, object()):
        with pytest.raises(TypeError, match="is not JSON serializable"):
            dumps(odd)


@given(PAYLOADS)
def test_dumps_of_any_payload_is_read_back(payload: Any) -> None:
    text = dumps(to_json(payload))
    assert "\n" not in text
    assert from_json(json.loads(text)) == from_json(to_json(payload))

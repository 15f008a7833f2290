"""Hypothesis strategies for payloads, and payloads that are none; for the tests of payloads and of the wire."""

from __future__ import annotations

import datetime
from typing import Any

import msgpack  # type: ignore[import-untyped]
from hypothesis import strategies as st

KEYS = st.one_of(st.sampled_from(["$bin", "$float", "$map", "", "a"]), st.text(max_size=3))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
)
PAYLOADS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=10), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


def nested(depth: int, inner: Any = None) -> Any:
    """Return `inner` (or an empty list) in lists and maps, `depth` containers in all."""
    value: Any = [] if inner is None else [inner]
    for level in range(depth - 1):
        value = [value] if level % 2 else {"k": value}
    return value


def holds_itself() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


def shared_many_times() -> Any:
    """2**40 lists to whoever walks them all, 40 lists in memory."""
    value: Any = ["x"]
    for _ in range(40):
        value = [value, value]
    return value


NO_PAYLOADS = {
    "a set": {1},
    "an object": object(),
    "a complex number": 1j,
    "a date": datetime.datetime(2026, 1, 1),
    "a memoryview": memoryview(b"x"),
    "an extension": msgpack.ExtType(5, b"x"),
    "a timestamp": msgpack.Timestamp(1, 1),
    "an int as key": {1: "x"},
    "bytes as key": {b"k": "x"},
    "None as key": {None: "x"},
    "too deep": nested(65),
    "too deep under a scalar": nested(65, 1),
    "a list that holds itself": holds_itself(),
}

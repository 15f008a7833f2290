"""NestedMessages: kept in order, as they were, checked, and not without end."""

from __future__ import annotations

from typing import Any

import pytest

from fabric.errors import LocalWireError, StateError
from fabric.node.nested import MAX_NESTED, NestedMessages


def test_they_come_in_order() -> None:
    nested = NestedMessages(1_000)
    assert not nested
    nested.keep(b"a\0", 1, None)
    nested.keep(b"b\0", 1, {"by": "me"})
    assert nested and list(nested.waiting) == [(b"a\0", 1, None, None), (b"b\0", 1, {"by": "me"}, None)]


def test_it_is_kept_as_it_was() -> None:
    nested, payload, headers = NestedMessages(1_000), {"a": [1]}, {"b": [2]}
    nested.keep(b"a\0", payload, headers, 5)
    payload["a"].append(0)
    headers["b"].append(0)
    assert nested.waiting[0] == (b"a\0", {"a": [1]}, {"b": [2]}, 5)


@pytest.mark.parametrize("payload", [object(), bytes(2_000), {1: 2}, 2**70])
def test_what_cannot_be_sent_is_refused_at_once(payload: Any) -> None:
    nested = NestedMessages(1_000)
    with pytest.raises(LocalWireError):
        nested.keep(b"a\0", payload, None)
    assert not nested


def test_they_have_a_bound() -> None:
    nested = NestedMessages(1_000)
    for number in range(MAX_NESTED):
        nested.keep(b"a\0", number, None)
    with pytest.raises(StateError, match="signal handlers and destructors"):
        nested.keep(b"a\0", 0, None)

"""Retained values in a keeper's store, on both databases: the newest of each topic, in whatever order they come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.histories import unpack
from fabric.protocol.retained import AHEAD_NS, MAX_EXPIRES_S
from fabric.wire import Message
from nodes.keep import retained
from nodes.keep.retained import CLEARED_S, RetainedValue, is_ahead, newest, value_of
from nodes.keep.retention import Retention, Sweeper
from nodes.keep.store import KeepStore
from tests.support.kept import SECOND, kept_value

pytest_plugins = ("tests.support.keeping",)

BIG = 2**64 - 1


def message(payload: Any, **headers: Any) -> Message:
    return Message("t", payload, BIG, 3, 100, headers)


def there(store: KeepStore, now_ns: int = 0) -> dict[str, Any]:
    return {each.topic: unpack(each.payload) for each in store.retained(now_ns)}


def test_what_a_message_is_to_retain() -> None:
    value = value_of(message("x", retain=5, by="me"), 7)
    assert value is not None and value[:6] == ("t", 100, BIG, 3, 7 + 5 * SECOND, False)
    assert (unpack(value.payload), unpack(value.headers or b"")) == ("x", {"by": "me"})
    assert [value.left_s(now_ns) for now_ns in (7, 8, 7 + 4 * SECOND, 7 + 9 * SECOND)] == [5, 5, 1, 1]
    for_good = value_of(message("x", retain=0, retained=True), 7)
    assert for_good is not None and for_good.left_s(10**18) is None and for_good.headers is None
    cleared = value_of(message(None, retain=9), 7)
    assert cleared is not None and cleared.cleared and cleared.expires_ns is None


@pytest.mark.parametrize(
    "headers", [{}, {"retain": None}, {"retain": -1}, {"retain": MAX_EXPIRES_S + 1}, {"retain": "1"}]
)
def test_what_is_not_to_be_retained(headers: dict[str, Any]) -> None:
    assert value_of(message("x", **headers), 7) is None


@pytest.mark.parametrize("payload", ["x", None])
def test_what_was_set_too_far_ahead_of_the_clock_is_not_kept(payload: Any) -> None:
    set_at_100 = message(payload, retain=0)
    in_time = set_at_100._replace(sent_ns=100 + AHEAD_NS)
    assert value_of(in_time, 100) is not None and not is_ahead(in_time, 100)
    for sent_ns in (101 + AHEAD_NS, 2**63, BIG):
        ahead = set_at_100._replace(sent_ns=sent_ns)
        assert value_of(ahead, 100) is None and is_ahead(ahead, 100)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, BIG)), max_size=20))
def test_the_newest_of_each_topic_is_the_one_with_the_largest_stamp(given_: list[tuple[str, int, int]]) -> None:
    values = [kept_value(topic, sent_ns, "x", publisher=publisher) for topic, sent_ns, publisher in given_]
    found = {value.topic: value.stamp for value in newest(values)}
    assert found == {topic: max(v.stamp for v in values if v.topic == topic) for topic in {v.topic for v in values}}


def test_what_is_newer_stays_in_whatever_order_they_come(kept_store: KeepStore) -> None:
    kept_store.write([], [], 1, [kept_value("a", 5, "five"), kept_value("b", 2**63, "late"), kept_value("c", 1, "c")])
    kept_store.write([], [], 2, [kept_value("a", 4, "four"), kept_value("a", 3, None), kept_value("b", 7, "early")])
    assert there(kept_store) == {"a": "five", "b": "late", "c": "c"}
    kept_store.write([], [], 3, [kept_value("a", 5, "larger publisher", publisher=BIG), kept_value("c", 2, None)])
    kept_store.write([], [], 4, [kept_value("a", 5, "smaller publisher", publisher=2**63)])
    assert there(kept_store) == {"a": "larger publisher", "b": "late", "c": None}
    assert kept_store.totals().messages == 0


def test_what_has_expired_is_not_there_any_more(kept_store: KeepStore) -> None:
    kept_store.write([], [], 1, [kept_value("a", 5, "short", expires_ns=100), kept_value("b", 5, "long")])
    assert there(kept_store, 99) == {"a": "short", "b": "long"}
    assert there(kept_store, 100) == {"b": "long"}


def test_all_come_however_many_there_are(kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained, "_PAGE", retained._PAGE.limit(10))
    monkeypatch.setattr(retained, "PAGE_ROWS", 10)
    for count in (10, 25):
        values: list[RetainedValue] = [kept_value(f"t/{number}", 1, number) for number in range(count)]
        kept_store.write([], [], 1, values)
        assert list(kept_store.retained(0)) == values


def test_what_was_cleared_or_has_expired_is_forgotten_after_a_day_and_a_value_never(kept_store: KeepStore) -> None:
    values = [kept_value("a", 5, None), kept_value("b", 5, "short", expires_ns=SECOND), kept_value("c", 5, "c")]
    kept_store.write([], [], SECOND, values)
    sweeper, day_ns = Sweeper(kept_store, Retention(last=1, for_s=1, max_bytes=1)), int(CLEARED_S) * SECOND
    sweeper.sweep(day_ns + SECOND)
    assert there(kept_store) == {"a": None, "b": "short", "c": "c"}
    sweeper.sweep(day_ns + SECOND + 1)
    assert there(kept_store) == {"c": "c"}

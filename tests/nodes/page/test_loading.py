"""A frame's way to its contact code: rounds, back-off, and what is refused."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.page.interface import Ask, FrameNodeWasBusy
from nodes.page.loading import Loading
from nodes.rules import topics
from nodes.rules.backoff import Backoff

BUSY = FrameNodeWasBusy(Ask("grant_code", {}, "key"), "busy", 0.0, 0.5)


def waiting() -> Loading:
    loading = Loading(Backoff(base_s=1.0, cap_s=4.0, attempts=3))
    loading.page_came()
    loading.frame_came("home")
    return loading


def ready(at: float = 0.0) -> Loading:
    loading = waiting()
    assert loading.take_due(False, at) and loading.granted(at)
    return loading


def test_it_asks_when_both_are_there_and_once() -> None:
    loading = Loading(Backoff())
    assert not loading.take_due(False, 0.0) and not loading.has_asked
    loading.frame_came("home")
    assert not loading.take_due(False, 0.0)
    loading.page_came()
    assert loading.home == "home" and loading.has_asked
    assert loading.due_s(False) == [0.0]
    assert loading.take_due(False, 0.0) and not loading.take_due(False, 99.0)
    assert loading.due_s(False) == [], "an answer is awaited"


def test_a_round_ends_with_an_error_and_the_page_begins_the_next() -> None:
    loading, now = waiting(), 0.0
    for attempt in (1, 2):
        assert loading.take_due(False, now)
        (told,) = loading.busy(BUSY, now)
        assert told.topic == topics.RETRY and told.payload["attempt"] == attempt
        (due_s,) = loading.due_s(False)
        loading.tick(due_s - 0.01)
        assert not loading.take_due(False, due_s - 0.01)
        loading.tick(due_s)
        now = due_s
    assert loading.take_due(False, now)
    (told,) = loading.busy(BUSY, now)
    assert told == (topics.ERROR, {"attempts": 3, "reason": "busy"})
    assert loading.due_s(False) == [] and not loading.take_due(False, 99.0)
    loading.retry(now)
    assert loading.take_due(False, now)
    (told,) = loading.busy(BUSY, now)
    assert told.payload["attempt"] == 1


def test_ready_it_asks_only_for_a_code_that_is_wanted_and_stays_ready() -> None:
    loading = ready()
    assert loading.is_ready and not loading.take_due(False, 0.0)
    for now in (0.0, 4.0, 8.0, 12.0):
        assert loading.take_due(True, now)
        assert loading.busy(BUSY, now) == [] and loading.is_ready
        assert len(loading.due_s(True)) == 1 and loading.due_s(False) == []
    assert not loading.granted(20.0), "it was ready"


def test_what_was_asked_before_the_grant_says_nothing_of_the_lease() -> None:
    loading = ready(at=5.0)
    assert not loading.lost(4.9, 6.0) and loading.is_ready
    assert loading.lost(5.0, 6.0) and not loading.is_ready
    assert loading.take_due(False, 6.0)
    assert not loading.lost(6.0, 6.0), "there is none to lose"


def test_what_does_not_belong_is_refused_and_changes_nothing() -> None:
    for loading in (waiting(), ready()):
        before = dict(vars(loading))
        for call in (
            loading.page_came,
            lambda each=loading: each.frame_came("other"),
            lambda each=loading: each.retry(1),
        ):
            with pytest.raises(StateError):
                call()
        assert vars(loading) == before

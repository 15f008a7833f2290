"""Co-browsing and its epoch, also with page and store apart and put together again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import StateError
from nodes.rules.cobrowse import MACHINE, RAISING, REASONS, RESTING, Cobrowse, asks_again_at, rest_left_s
from tests.support.machines import assert_sound


def test_the_table_is_sound() -> None:
    assert_sound(MACHINE)
    assert set(MACHINE.transitions) >= RAISING


@pytest.mark.parametrize("state", ["asked", "joined"])
def test_the_end_of_a_session_or_a_request_always_raises_the_epoch_and_allowing_does_not(state: str) -> None:
    ending = {pair for pair, after in MACHINE.transitions.items() if pair[0] == state and after != "joined"}
    assert ending and ending <= RAISING
    assert ("asked", "allow") not in RAISING


def test_a_session_from_join_to_idle() -> None:
    joined = Cobrowse().after("join")
    assert joined == Cobrowse("joined", 1)
    stopping = joined.after("stop")
    assert stopping == Cobrowse("stopping", 2)
    assert stopping.after("stop") == stopping
    assert stopping.after("confirm") == Cobrowse("idle", 2)
    assert stopping.after("agent_lost") == Cobrowse("idle", 2)
    assert joined.after("agent_lost") == Cobrowse("idle", 2)


def test_a_request_is_allowed_in_its_own_epoch_or_raises_it() -> None:
    asked = Cobrowse().after("ask")
    assert asked == Cobrowse("asked", 1)
    assert asked.after("allow") == Cobrowse("joined", 1)
    for event in ("stop", "timeout", "agent_lost", "page_lost"):
        assert asked.after(event) == Cobrowse("idle", 2)
    assert asked.after("stop").after("ask") == Cobrowse("asked", 2), "the next request is another one"
    assert len(set(REASONS)) == 5


def test_nothing_is_seen_of_a_page_that_is_asked() -> None:
    assert not Cobrowse("asked", 3).accepts(3)
    assert not Cobrowse("asked", 3).acknowledged(3) and Cobrowse("asked", 3).acknowledged(2)


def test_a_stop_ends_the_request_of_its_epoch_and_no_newer_one() -> None:
    assert Cobrowse("asked", 4).stopped(4) == Cobrowse("idle", 5)
    assert Cobrowse("asked", 4).stopped(3) == Cobrowse("asked", 4)
    assert Cobrowse("asked", 4).stopped(7) == Cobrowse("idle", 8), "a page that was out of reach is caught up with"
    assert Cobrowse("joined", 4).ended_below(5) == Cobrowse("stopping", 5), (
        "allowed, and declined before that was known"
    )


def test_what_does_not_belong_is_refused() -> None:
    refused = [("asked", event) for event in ("ask", "join", "confirm")]
    refused += [(state, "allow") for state in ("idle", "joined", "stopping")]
    refused += [(state, "ask") for state in ("joined", "stopping")]
    for state, event in (
        *refused, ("idle", "confirm"), ("joined", "confirm"), ("joined", "join"), ("stopping", "join"),
    ):  # fmt: skip
        with pytest.raises(StateError):
            Cobrowse(state, 7).after(event)


def test_updates_are_accepted_in_their_own_epoch_while_joined_only() -> None:
    assert Cobrowse("joined", 3).accepts(3)
    assert not Cobrowse("joined", 3).accepts(2)
    assert not Cobrowse("joined", 3).accepts(4)
    assert not Cobrowse("stopping", 3).accepts(3)
    assert not Cobrowse("idle", 3).accepts(3)


def test_a_stop_counts_once_for_its_epoch() -> None:
    first = Cobrowse("joined", 4).stopped(4)
    assert first == Cobrowse("stopping", 5)
    assert first.stopped(4) == first
    assert Cobrowse("joined", 5).stopped(4) == Cobrowse("joined", 5)


def test_a_stop_at_idle_ends_the_join_that_is_on_its_way() -> None:
    page = Cobrowse("idle", 1).after("stop")
    assert page == Cobrowse("idle", 2)
    assert Cobrowse("joined", 1).ended_below(page.epoch) == Cobrowse("joined", 1).stopped(1) == Cobrowse("stopping", 2)


def test_what_is_not_behind_is_as_it_is() -> None:
    for seen in (Cobrowse("joined", 3), Cobrowse("idle", 3), Cobrowse("stopping", 3)):
        assert seen.ended_below(3) == seen.ended_below(1) == seen
        assert not seen.ended_below(7).accepts(7) and seen.ended_below(7).epoch == 7


def test_a_stop_is_acknowledged_when_nobody_is_left_to_confirm() -> None:
    assert not Cobrowse("joined", 1).acknowledged(1)
    assert not Cobrowse("stopping", 2).acknowledged(1)
    assert not Cobrowse("stopping", 5).acknowledged(1), "the epoch was raised by more than one"
    assert Cobrowse("idle", 2).acknowledged(1)
    assert Cobrowse("joined", 2).acknowledged(1)


STORE_EVENTS = ["join", "ask", "allow", "timeout", "confirm", "agent_lost"]
EVENTS = st.lists(st.sampled_from([*STORE_EVENTS, "page stops", "page hears", "store hears a stop"]))


@given(EVENTS)
def test_page_and_store_agree_in_the_end_and_no_epoch_ever_falls(events: list[str]) -> None:
    """The page keeps what it last heard of the store, and an epoch of its own."""
    seen = store = Cobrowse()
    epoch = seen.epoch
    stops: list[int] = []
    for event in events:
        page = seen.ended_below(epoch)
        before = page.epoch, store.epoch
        if event == "page stops":
            stops.append(page.epoch)
            epoch = page.stopped(page.epoch).epoch
            assert seen.ended_below(epoch).state != "joined"
        elif event == "page hears":
            seen = store
            epoch = max(epoch, seen.epoch)
        elif event == "store hears a stop" and stops:
            store = store.stopped(stops.pop(0))
        elif MACHINE.allows(store.state, event):
            store = store.after(event)
        assert seen.ended_below(epoch).epoch == epoch >= before[0] and store.epoch >= before[1]
    for stop in stops:
        store = store.stopped(stop)
    assert store.ended_below(max(epoch, store.epoch)) == store


@pytest.mark.parametrize("reason", REASONS)
def test_who_was_declined_or_not_answered_rests(reason: str) -> None:
    assert asks_again_at(reason, 100.0, 30.0) == (130.0 if reason in RESTING else None)
    assert set(RESTING) == {"declined", "timeout"}


@pytest.mark.parametrize(("now", "left_s"), [(100.0, 30), (100.1, 30), (129.5, 1), (130.0, 0), (500.0, 0)])
def test_the_seconds_that_are_left_are_rounded_up(now: float, left_s: int) -> None:
    assert rest_left_s(130.0, now) == left_s

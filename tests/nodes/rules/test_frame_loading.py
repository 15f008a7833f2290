"""Frame loading: either order, retries, failure, and coming back."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.rules.frame_loading import MACHINE
from tests.support.machines import assert_sound, walk


def test_the_table_is_sound() -> None:
    assert_sound(MACHINE)


@pytest.mark.parametrize("order", [("page_came", "frame_came"), ("frame_came", "page_came")])
def test_page_and_frame_come_in_either_order(order: tuple[str, str]) -> None:
    assert walk(MACHINE, *order) == "waiting"
    assert walk(MACHINE, *order, "granted") == "ready"


def test_busy_then_retry_then_ready() -> None:
    assert walk(MACHINE, "busy", "retry", "busy", "retry", "granted", start="waiting") == "ready"


def test_busy_until_it_gives_up_and_a_new_round_on_request() -> None:
    assert walk(MACHINE, "busy", "gave_up", start="waiting") == "failed"
    assert walk(MACHINE, "retry", "granted", start="failed") == "ready"


def test_a_lost_lease_asks_again() -> None:
    assert walk(MACHINE, "lost", "granted", start="ready") == "ready"


@pytest.mark.parametrize("state", ["waiting", "retrying", "ready", "failed"])
def test_whoever_leaves_the_other_waits_for_it(state: str) -> None:
    assert walk(MACHINE, "frame_left", "frame_came", "granted", start=state) == "ready"
    assert walk(MACHINE, "page_left", "page_came", "granted", start=state) == "ready"


def test_a_code_that_nobody_asked_for_is_refused() -> None:
    for state in ("absent", "page_alone", "frame_alone", "retrying", "failed", "ready"):
        with pytest.raises(StateError):
            MACHINE.after(state, "granted")

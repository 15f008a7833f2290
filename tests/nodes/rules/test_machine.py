"""The table machine: what the table has happens, anything else is refused by name."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.rules.machine import Machine

DOOR = Machine("door", "shut", {("shut", "open"): "ajar", ("ajar", "close"): "shut", ("ajar", "break"): "gone"})


def test_a_pair_of_the_table_gives_its_next_state() -> None:
    assert DOOR.after("shut", "open") == "ajar"
    assert DOOR.allows("ajar", "close")


def test_an_absent_pair_is_refused_and_names_what_is_possible() -> None:
    with pytest.raises(StateError, match="possible here: close, break") as caught:
        DOOR.after("ajar", "open")
    assert (caught.value.machine, caught.value.state, caught.value.event) == ("door", "ajar", "open")
    assert not DOOR.allows("ajar", "open")


def test_a_final_state_and_an_unknown_state_are_told_apart() -> None:
    with pytest.raises(StateError, match="possible here: nothing"):
        DOOR.after("gone", "open")
    with pytest.raises(StateError, match="no such state: expected one of shut, ajar, gone"):
        DOOR.after("locked", "open")


def test_states_and_events_are_listed_once_in_order() -> None:
    assert DOOR.states == ("shut", "ajar", "gone")
    assert DOOR.events == ("open", "close", "break")

"""Frame visibility."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.rules.visibility import MACHINE
from tests.support.machines import assert_sound, walk


def test_the_table_is_sound() -> None:
    assert_sound(MACHINE)


def test_shown_minimised_shown_again_hidden() -> None:
    assert walk(MACHINE, "show", "minimise") == "minimised"
    assert walk(MACHINE, "show", "minimise", "show") == "shown"
    assert walk(MACHINE, "show", "minimise", "hide") == "hidden"


@pytest.mark.parametrize(("event", "state"), [("show", "shown"), ("hide", "hidden"), ("minimise", "minimised")])
def test_asking_for_what_is_so_changes_nothing(event: str, state: str) -> None:
    assert MACHINE.after(state, event) == state


def test_a_hidden_frame_cannot_be_minimised() -> None:
    with pytest.raises(StateError, match="possible here: show, hide"):
        MACHINE.after("hidden", "minimise")

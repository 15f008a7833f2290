"""An agent's lease: it runs, it may have run out, it is lost."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.rules.agent_lease import MACHINE
from tests.support.machines import assert_sound, walk


def test_the_table_is_sound() -> None:
    assert_sound(MACHINE)


def test_a_renewal_makes_it_run_whatever_it_was() -> None:
    for state in MACHINE.states:
        assert walk(MACHINE, "renewed", start=state) == "present"


def test_what_is_lost_has_to_be_renewed_whatever_it_was() -> None:
    for state in MACHINE.states:
        assert walk(MACHINE, "lost", start=state) == "absent"


def test_it_runs_out_once() -> None:
    assert walk(MACHINE, "renewed", "ran_out") == "uncertain"
    for state in ("absent", "uncertain"):
        with pytest.raises(StateError):
            MACHINE.after(state, "ran_out")

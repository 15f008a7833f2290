"""What must hold for every machine's table; each machine's own test calls this."""

from __future__ import annotations

from itertools import product

import pytest

from fabric.errors import StateError
from nodes.rules.machine import Machine


def assert_sound(machine: Machine) -> None:
    """Every state can be reached, none is a trap, and every absent pair is refused."""
    reached = [machine.start]
    for state in reached:
        after = [to for (before, _), to in machine.transitions.items() if before == state]
        assert after, f"{machine.name}: no way out of {state}"
        reached += [to for to in dict.fromkeys(after) if to not in reached]
    assert set(reached) == set(machine.states)
    for state, event in product(machine.states, machine.events):
        if (state, event) not in machine.transitions:
            with pytest.raises(StateError):
                machine.after(state, event)


def walk(machine: Machine, *events: str, start: str | None = None) -> str:
    """Return the state after `events`, from the first state unless told otherwise."""
    state = start or machine.start
    for event in events:
        state = machine.after(state, event)
    return state

"""A state machine as a table, and nothing else.

A module that has a machine writes its table as one literal dict, `TRANSITIONS = {(state, event): next_state}`, and
wraps it in a `Machine`. A pair that is not in the table is refused with a `StateError` and changes nothing: states are
plain strings which the caller keeps, so there is nothing here to change. `nodes.rules.diagrams` draws these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fabric.errors import StateError

Transitions = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Machine:
    """A name for messages, the state to start in, and the table."""

    name: str
    start: str
    transitions: Transitions

    def after(self, state: str, event: str) -> str:
        """Return the state that follows `event` in `state`.

        errors: StateError when the table has no such pair; it names the events that are possible
        """
        try:
            return self.transitions[state, event]
        except KeyError:
            raise StateError(self.name, state, event, self._hint(state)) from None

    def allows(self, state: str, event: str) -> bool:
        """Say whether the table has this pair."""
        return (state, event) in self.transitions

    @property
    def states(self) -> tuple[str, ...]:
        """Every state, the first one first, then in the order of the table."""
        named = [state for (before, _), after in self.transitions.items() for state in (before, after)]
        return tuple(dict.fromkeys([self.start, *named]))

    @property
    def events(self) -> tuple[str, ...]:
        """Every event, in the order of the table."""
        return tuple(dict.fromkeys(event for _, event in self.transitions))

    def _hint(self, state: str) -> str:
        if state not in self.states:
            return f"no such state: expected one of {', '.join(self.states)}"
        possible = [event for before, event in self.transitions if before == state]
        return f"possible here: {', '.join(possible) or 'nothing'}"

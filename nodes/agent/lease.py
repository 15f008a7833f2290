"""An agent's lease by its own clock, and when it is renewed. Pure.

The states are those of `nodes.rules.agent_lease`.
"""

from __future__ import annotations

from nodes.rules.agent_lease import MACHINE

RENEWALS = 3
"""In each lease: two may be lost."""


class Lease:
    """The lease of one agent. `lease_s`: how long the frame node takes it for present without a renewal."""

    def __init__(self, lease_s: float) -> None:
        self.lease_s = lease_s
        """Does not change."""
        self.state = MACHINE.start
        """A state of `agent_lease.MACHINE`; `renewed`, `run_out` and `lost` change it by the table."""
        self._until_s = 0.0
        """The moment at which it may be over; counts while the state is `present`. It only grows; `renewed` sets it."""
        self._renew_s = 0.0
        """The moment from which a renewal may be asked for."""
        self._is_asked = False
        """Whether the answer to a sign-in or a renewal is awaited."""

    @property
    def is_signed_in(self) -> bool:
        """Whether a frame node knows the agent, as far as it has heard."""
        return self.state != "absent"

    def runs(self, now: float) -> bool:
        """Say whether it runs for certain."""
        return self.state == "present" and now < self._until_s

    def take_due(self, now: float) -> bool:
        """Say whether to ask for a renewal now."""
        if self._is_asked or now < self._renew_s:
            return False
        self._is_asked = True
        return True

    def answered(self, asked_at: float) -> None:
        """A renewal was answered; it says what it says."""
        self._is_asked, self._renew_s = False, asked_at + self.lease_s / RENEWALS

    def put_off(self, until_s: float) -> None:
        """Ask for a renewal at `until_s`, also if one that was asked is not answered."""
        self._is_asked, self._renew_s = False, until_s

    def hasten(self, now: float) -> None:
        """Ask for a renewal now, unless an answer is awaited."""
        self._renew_s = now

    def renewed(self, asked_at: float) -> None:
        """It runs on, counted from when that was asked."""
        self.state = MACHINE.after(self.state, "renewed")
        self._until_s = max(self._until_s, asked_at + self.lease_s)

    def run_out(self, now: float) -> bool:
        """Say whether this is the moment from which it may be over."""
        if self.state != "present" or now < self._until_s:
            return False
        self.state = MACHINE.after(self.state, "ran_out")
        return True

    def lost(self, now: float) -> bool:
        """The frame node has none; return whether that is news."""
        was_signed_in = self.is_signed_in
        self.state = MACHINE.after(self.state, "lost")
        self.put_off(now)
        return was_signed_in

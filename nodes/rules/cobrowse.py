"""A page's co-browsing and its epoch: asked for by an agent, allowed by the visitor, stopped by either.

An agent's request is `asked` until the visitor allows it. It ends by `stop` when the visitor declines or the agent
takes it back, by `timeout` when nobody has answered. A page whose visitor consents by the code is joined at once.

The epoch is also the number of the request: each one that ends without being allowed raises it, so an answer that comes
late names an epoch that is over, and does nothing.

The epoch is what makes a stop safe: every page update carries the epoch it was sent in, a stop raises the epoch at
once, and an update of another epoch is refused wherever it arrives. The page raises its copy before any network; the
frame node raises the stored one to the same number; until then the page holds the stored state `ended_below` its epoch.
A stop is acknowledged when the agent has confirmed the new epoch or can no longer act (`agent_lost`: lease over).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nodes.rules.machine import Machine

TRANSITIONS: dict[tuple[str, str], str] = {
    ("idle", "ask"): "asked",
    ("idle", "join"): "joined",
    ("idle", "stop"): "idle",
    ("idle", "page_lost"): "idle",
    ("asked", "allow"): "joined",
    ("asked", "stop"): "idle",
    ("asked", "timeout"): "idle",
    ("asked", "agent_lost"): "idle",
    ("asked", "page_lost"): "idle",
    ("joined", "stop"): "stopping",
    ("joined", "agent_lost"): "idle",
    ("joined", "page_lost"): "idle",
    ("stopping", "stop"): "stopping",
    ("stopping", "confirm"): "idle",
    ("stopping", "agent_lost"): "idle",
    ("stopping", "page_lost"): "idle",
}

# A stop at idle raises the epoch, too: a join that the page does not know of yet may be on its way, and must not start
# what the visitor has just stopped.
RAISING = frozenset(
    {
        ("idle", "stop"),
        *((state, event) for state in ("asked", "joined") for event in ("stop", "agent_lost", "page_lost")),
        ("asked", "timeout"),
    }
)

CAPABILITIES = ("view",)
"""What an agent may ask for; each is allowed by itself."""
CONSENTS = ("ask", "code")
"""How the visitor of a page consents to an agent who has its code: by an answer, or by having given the code away."""
REASONS = ("declined", "timeout", "withdrawn", "agent_lost", "page_lost")
"""How a request ended that was not allowed: by the visitor, by nobody's answer in time, by the agent who took it back,
with the agent's lease, with the page's."""

RESTING = ("declined", "timeout")
"""After a request that ended so its agent rests before it asks this visitor again in a chat: nobody is pressed."""

MACHINE = Machine("co-browsing", "idle", TRANSITIONS)


def asks_again_at(reason: str, now: float, rest_s: float) -> float | None:
    """Return from when an agent may ask a visitor again, by the clock of `now`; None: at once.

    reason:  one of REASONS, how its last request ended
    """
    return now + rest_s if reason in RESTING else None


def rest_left_s(until: float, now: float) -> int:
    """Return how long the rest lasts that ends at `until`, in whole seconds, rounded up; 0 when it is over."""
    return max(0, math.ceil(until - now))


@dataclass(frozen=True, slots=True)
class Cobrowse:
    """State and epoch, as the store holds them; page and agent derive theirs from it and an epoch of their own."""

    state: str = MACHINE.start
    epoch: int = 1

    def after(self, event: str) -> Cobrowse:
        """Return what follows `event`. Errors: StateError for an event that is not possible in this state."""
        return Cobrowse(MACHINE.after(self.state, event), self.epoch + ((self.state, event) in RAISING))

    def stopped(self, epoch: int) -> Cobrowse:
        """Return what follows a stop that was meant for `epoch`: nothing, if that epoch is over.

        The sender may be ahead of us, when it stopped more than once while it could not reach us; then we catch up.
        """
        if epoch < self.epoch:
            return self
        after = self.after("stop")
        return Cobrowse(after.state, max(after.epoch, epoch + 1))

    def accepts(self, epoch: int) -> bool:
        """Say whether an update of `epoch` may be handled now."""
        return self.state == "joined" and epoch == self.epoch

    def acknowledged(self, epoch: int) -> bool:
        """Say whether the stop that ended `epoch` is over: no agent handles its updates any more.

        While any stop is under way this is False, also for epochs that ended before: the epoch may have been raised by
        more than one, so it does not tell which of them the agent still holds.
        """
        return epoch < self.epoch and self.state != "stopping"

    def ended_below(self, epoch: int) -> Cobrowse:
        """Return this with each epoch below `epoch` ended, as by stops that it has not heard of; itself, if it has."""
        return self.stopped(epoch - 1)

"""An agent's lease, as the agent itself sees it.

The frame node takes an agent for present for some seconds after each renewal. The agent counts them from when it asked
for the renewal, by its own clock, so it stops handling updates before the frame node gives it up.

event      meaning
renewed    the frame node answered a sign-in or a renewal
ran_out    none was answered in time: the frame node may have given the agent up
lost       the frame node says that there is no lease: sign in again
"""

from __future__ import annotations

from nodes.rules.machine import Machine

TRANSITIONS: dict[tuple[str, str], str] = {
    ("absent", "renewed"): "present",
    ("absent", "lost"): "absent",
    ("present", "renewed"): "present",
    ("present", "ran_out"): "uncertain",
    ("present", "lost"): "absent",
    ("uncertain", "renewed"): "present",
    ("uncertain", "lost"): "absent",
}

MACHINE = Machine("an agent's lease", "absent", TRANSITIONS)

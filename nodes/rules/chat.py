"""The chat of one page: asked for by the visitor, or proposed by an agent.

The visitor's `trigger` puts the page into the queue of a button; the head of the queue is offered to an available agent
of that button, who accepts or declines. A declined or forgotten offer, or one whose agent vanished, returns to its
place in the queue. `proactive` is an agent's proposal, which the visitor accepts by `trigger` and declines by `stop`;
it ends by `withdraw` when the agent takes it back, by `timeout` when nobody has answered. A chat that is over may be
stopped again, since both sides may do so at once.
"""

from __future__ import annotations

from nodes.rules.machine import Machine

TRANSITIONS: dict[tuple[str, str], str] = {
    ("idle", "trigger"): "waiting",
    ("idle", "proactive"): "invited",
    ("waiting", "offer"): "offered",
    ("waiting", "stop"): "closed",
    ("offered", "accept"): "open",
    ("offered", "decline"): "waiting",
    ("offered", "timeout"): "waiting",
    ("offered", "agent_lost"): "waiting",
    ("offered", "stop"): "closed",
    ("invited", "trigger"): "open",
    ("invited", "agent_lost"): "closed",
    ("invited", "stop"): "closed",
    ("invited", "withdraw"): "idle",
    ("invited", "timeout"): "idle",
    ("open", "agent_lost"): "closed",
    ("open", "stop"): "closed",
    ("closed", "trigger"): "waiting",
    ("closed", "proactive"): "invited",
    ("closed", "stop"): "closed",
}

MACHINE = Machine("chat", "idle", TRANSITIONS)

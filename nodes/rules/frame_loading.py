"""How a page's frame comes up: from nothing to a contact code.

Page and frame come up in either order, and either may leave and come back; the frame asks for a code once both are
there. `ready` means that the frame holds a session at the frame node, and with it a code or a running co-browse
session. `failed` ends a round of attempts, not the page: `retry` starts the next round.

event            meaning
page_came        the page's own script runs
frame_came       the frame is attached to a node
granted          the frame node granted a code
busy             the frame node was too busy, or did not answer
retry            the back-off is over, or the page asks again after a failure
gave_up          that was the last attempt
lost             the lease ran out, or no new code followed a session: ask again
page_left, frame_left
"""

from __future__ import annotations

from nodes.rules.machine import Machine

TRANSITIONS: dict[tuple[str, str], str] = {
    ("absent", "page_came"): "page_alone",
    ("absent", "frame_came"): "frame_alone",
    ("page_alone", "frame_came"): "waiting",
    ("page_alone", "page_left"): "absent",
    ("frame_alone", "page_came"): "waiting",
    ("frame_alone", "frame_left"): "absent",
    ("waiting", "granted"): "ready",
    ("waiting", "busy"): "retrying",
    ("waiting", "gave_up"): "failed",
    ("waiting", "page_left"): "frame_alone",
    ("waiting", "frame_left"): "page_alone",
    ("retrying", "retry"): "waiting",
    ("retrying", "gave_up"): "failed",
    ("retrying", "page_left"): "frame_alone",
    ("retrying", "frame_left"): "page_alone",
    ("ready", "lost"): "waiting",
    ("ready", "page_left"): "frame_alone",
    ("ready", "frame_left"): "page_alone",
    ("failed", "retry"): "waiting",
    ("failed", "page_left"): "frame_alone",
    ("failed", "frame_left"): "page_alone",
}

MACHINE = Machine("frame loading", "absent", TRANSITIONS)

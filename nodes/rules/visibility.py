"""Whether the visitor sees the frame: hidden, shown or minimised.

`show` comes when something must be seen (co-browsing started, a chat opened, a proactive request, a component asks),
`minimise` from the visitor, `hide` when a chat has stopped. Asking for the present state changes nothing. A hidden
frame cannot be minimised, because there is nothing on the screen to do it with.
"""

from __future__ import annotations

from nodes.rules.machine import Machine

TRANSITIONS: dict[tuple[str, str], str] = {
    ("hidden", "show"): "shown",
    ("hidden", "hide"): "hidden",
    ("shown", "show"): "shown",
    ("shown", "minimise"): "minimised",
    ("shown", "hide"): "hidden",
    ("minimised", "show"): "shown",
    ("minimised", "minimise"): "minimised",
    ("minimised", "hide"): "hidden",
}

MACHINE = Machine("frame visibility", "hidden", TRANSITIONS)

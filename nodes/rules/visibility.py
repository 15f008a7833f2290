"""Whether the visitor sees the frame: hidden, shown or minimised.

`show` comes when something must be seen (co-browsing started, a chat opened, a proactive request, a component asks),
`minimise` and `hide` from the visitor; `hide` also when a chat ends that nobody has taken up. Asking for the present
state changes nothing. A hidden frame cannot be minimised, because there is nothing on the screen to do it with; but
`announce` makes it so when an agent has written: who has closed the window sees that, and is not interrupted.
"""

from __future__ import annotations

from nodes.rules.machine import Machine

TRANSITIONS: dict[tuple[str, str], str] = {
    ("hidden", "show"): "shown",
    ("hidden", "hide"): "hidden",
    ("hidden", "announce"): "minimised",
    ("shown", "show"): "shown",
    ("shown", "minimise"): "minimised",
    ("shown", "hide"): "hidden",
    ("shown", "announce"): "shown",
    ("minimised", "show"): "shown",
    ("minimised", "minimise"): "minimised",
    ("minimised", "hide"): "hidden",
    ("minimised", "announce"): "minimised",
}

MACHINE = Machine("frame visibility", "hidden", TRANSITIONS)

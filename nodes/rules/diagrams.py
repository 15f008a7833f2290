"""Draws every state machine from its own table: `python -m nodes.rules.diagrams > docs/machines.md`.

The page is generated, and a test compares it with the code.
"""

from __future__ import annotations

from inspect import getdoc
from types import ModuleType

from fabric.node import connection, handover, repair, uplink
from nodes.rules import agent_lease, chat, cobrowse, frame_loading, visibility
from nodes.rules.machine import Machine

MODULES: tuple[ModuleType, ...] = (frame_loading, cobrowse, visibility, chat, agent_lease)

FABRIC = (
    (
        Machine("connection of a node", "connecting", connection.TRANSITIONS),
        "Which proxy a node is at. It loses one that falls silent, breaks, or does not let it move in time; "
        "from one that drains it moves to the next.",
    ),
    (
        Machine("handover of a node", "covering", handover.TRANSITIONS),
        "While a node moves: the new proxy has to cover every subscription, and the old way to be flushed.",
    ),
    (
        Machine("uplink of a node", "closed", uplink.TRANSITIONS),
        "A node's way to its proxy's ingress. Publishers go on while it is open; what is kept is sent again before.",
    ),
    (
        Machine("repair of a stream", "noticed", repair.TRANSITIONS),
        "What a subscriber does where a publisher's messages on a topic have a hole: it asks, "
        "and what does not come in time it tells as lost.",
    ),
)
"""Those of the fabric, which knows no `Machine`, and what they are."""

HEAD = """# State machines

Generated from the tables in `nodes/` and `fabric/` by `python -m nodes.rules.diagrams > docs/machines.md`; do not edit.
An event that is not drawn is an error, and changes nothing.
"""


def document() -> str:
    """Return the whole page, one section for each machine."""
    return "\n".join([HEAD, *map(_section, MODULES), *(_drawn(machine, about) for machine, about in FABRIC)])


def mermaid(machine: Machine, marked: frozenset[tuple[str, str]] = frozenset()) -> str:
    """Return a mermaid state diagram of `machine`; the transitions in `marked` raise the epoch, and say so."""
    lines = ["stateDiagram-v2", f"    [*] --> {machine.start}"]
    for (before, event), after in machine.transitions.items():
        note = " (epoch + 1)" if (before, event) in marked else ""
        lines.append(f"    {before} --> {after}: {event}{note}")
    return "\n".join(lines)


def _section(module: ModuleType) -> str:
    machine: Machine = module.MACHINE
    about = (getdoc(module) or "").split("\n\n", 1)[0]
    return _drawn(machine, about, getattr(module, "RAISING", frozenset()))


def _drawn(machine: Machine, about: str, marked: frozenset[tuple[str, str]] = frozenset()) -> str:
    drawing = mermaid(machine, marked)
    return f"## {machine.name.capitalize()}\n\n{about}\n\n```mermaid\n{drawing}\n```\n"


if __name__ == "__main__":
    print(document(), end="")

"""Draws every state machine from its own table: `python -m nodes.rules.diagrams > docs/machines.md`.

The page is generated, and a test compares it with the code.
"""

from __future__ import annotations

from inspect import getdoc
from types import ModuleType

from nodes.rules import agent_lease, chat, cobrowse, frame_loading, visibility
from nodes.rules.machine import Machine

MODULES: tuple[ModuleType, ...] = (frame_loading, cobrowse, visibility, chat, agent_lease)

HEAD = """# State machines

Generated from the tables in `nodes/` by `python -m nodes.rules.diagrams > docs/machines.md`; do not edit.
An event that is not drawn is refused with a `StateError` and changes nothing.
"""


def document() -> str:
    """Return the whole page, one section for each machine."""
    return "\n".join([HEAD, *(_section(module) for module in MODULES)])


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
    drawing = mermaid(machine, getattr(module, "RAISING", frozenset()))
    return f"## {machine.name.capitalize()}\n\n{about}\n\n```mermaid\n{drawing}\n```\n"


if __name__ == "__main__":
    print(document(), end="")

"""What a plan is made of: processes, and the lines that scripts read. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nodes.deployment.description import RESTARTS, Host

SEPARATOR = "\x1f"
"""Between the fields of a line: no text of a description holds it, and bash keeps an empty field between two."""
FORM = "fabric-plan-2"
"""The first field of the lines: scripts/lib/common.sh reads no others."""
KINDS = ("proxy", "keeper", "frame", "gateway", "page", "run")
"""In the order they start in; they are ended in the reverse one. scripts/lib/common.sh knows it."""


@dataclass(frozen=True)
class Process:
    """One process.

    kind:    one of KINDS
    command: its words
    base:    its address for others: a proxy's base, a gateway's URL; else empty
    alone:   one more word for the command when no proxy runs yet: this one may start the mesh
    members: proxies of its mesh, as it is told of them when it starts: words of its command; for `run` a variable of
             its environment. It learns of new ones by itself, so another plan with other members does not change it
    readies: how many `ready` lines it prints
    restart: one of RESTARTS
    env:     variables of its environment, NAME=VALUE, where only its owner sees them
    folder:  where it runs; empty: in the state folder
    role:    of its key, where there are keys
    secret:  name of a secret that all of its kind share: scripts/up makes it, and places it beside keys; empty: none
    """

    name: str
    kind: str
    host: Host
    command: tuple[str, ...]
    base: str = ""
    alone: str = ""
    members: tuple[str, ...] = ()
    readies: int = 1
    restart: str = RESTARTS[0]
    env: tuple[str, ...] = ()
    folder: str = ""
    role: str = ""
    secret: str = ""


Placed = tuple[Process, Mapping[str, Any]]
"""A process, and the table of the description that it is from: `dressed` adds what tables of all kinds may say."""


@dataclass(frozen=True)
class Plan:
    """All processes in the order they start in, which is that of KINDS.

    keys: folder of keys on the machine where the plan is made; empty: without keys
    """

    processes: tuple[Process, ...]
    ready_s: int
    grace_s: int
    keys: str = ""

    def lines(self) -> Iterator[str]:
        """Yield lines for scripts, fields between SEPARATOR; what a shell is to run is quoted for it.

        FORM, ready_s, grace_s, keys; then for each process:
        name, kind, host, runner, state, fabric, base, readies, alone, restart, role, secret, members, env, folder,
        command
        """
        yield SEPARATOR.join((FORM, str(self.ready_s), str(self.grace_s), self.keys))
        for each in self.processes:
            host = each.host
            where = (host.name, " ".join(host.runner), shlex.quote(host.state), shlex.quote(host.fabric))
            how = (each.base, str(each.readies), each.alone, each.restart, each.role, each.secret)
            what = (each.members, each.env, (each.folder or host.state,), each.command)
            yield SEPARATOR.join((each.name, each.kind, *where, *how, *map(shlex.join, what)))

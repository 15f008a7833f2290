"""From a description to the commands of the user's own that run beside the fabric: `[[run]]`. Pure."""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fabric.errors import expected
from nodes.deployment.description import Host, place, tables, whole
from nodes.deployment.process import Placed, Process
from nodes.deployment.proxies import bases_for

ROLE = "node"
"""Of its key, unless it says another."""


def commands_of(
    description: Mapping[str, Any], hosts: list[Host], proxies: Sequence[Process], folder: str
) -> list[Placed]:
    """Return its commands, `count` of each, with the addresses of the proxies in FABRIC_CONNECT. Errors: ValueError.

    folder: where those on this machine run, and what a relative folder of the description is in
    """
    if not isinstance(description.get("run", []), list):
        raise ValueError(expected("run", description["run"], "tables [[run]]"))
    found: list[Placed] = []
    for number, table in enumerate(tables(description, "run", 0), 1):
        words = _words(table.get("command"), f"run[{number}]")
        name, count = table.get("name", f"run{number}"), whole(table.get("count", 1), f"run[{number}]: count")
        for at in range(1, count + 1):
            host = place(table, hosts, len(found) + 1)
            found.append((_one(name if count == 1 else f"{name}{at}", at, host, words, table, proxies, folder), table))
    return found


def _one(
    name: str, at: int, host: Host, words: list[str], table: Mapping[str, Any], proxies: Sequence[Process], folder: str
) -> Process:
    command = [host.fabric, *words[1:]] if words[0] == "fabric" else words
    connect = "FABRIC_CONNECT=" + " ".join(bases_for(host, proxies, at))
    where = os.path.join("" if host.name else folder, table.get("folder", ""))
    return Process(
        name, "run", host, tuple(command),
        members=(connect,), readies=int(table.get("ready", False)), role=table.get("role", ROLE),
        env=(f"FABRIC={host.fabric}", f"FABRIC_NUMBER={at}"), folder=where.rstrip("/") or where,
    )  # fmt: skip


def _words(command: object, where: str) -> list[str]:
    """Return the words of a command, which is a text as a shell takes it apart, or a list of words."""
    if isinstance(command, list) and command and all(isinstance(word, str) and word.isprintable() for word in command):
        return command
    if isinstance(command, str) and command.isprintable():
        try:
            words = shlex.split(command)
        except ValueError:
            words = []
        if words:
            return words
    raise ValueError(f"{where}: {expected('command', command, 'words as for a shell, or a list of words')}")

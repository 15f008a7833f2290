"""The description of a fabric, checked: its keys, values and hosts; `plan` makes processes from it. Pure."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabric.errors import expected

RUNNER = "ssh -o BatchMode=yes {host}"
"""BatchMode: a host that asks for a password counts as one that cannot be reached."""
MAX_COUNT = 100_000
RESTARTS = ("no", "on-failure", "always")
"""When a process that has ended is started again: never, after another exit code than 0 or a signal, or each time."""
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]{0,252}")
_ADDRESS = re.compile(r"[A-Za-z0-9:][A-Za-z0-9_.:-]{0,252}(%[A-Za-z0-9_.-]{1,15})?")
_PLACED = {"name": str, "host": str, "args": list}
_KEYS: dict[str, dict[str, type]] = {
    "": {
        "proxies": object, "frames": object, "pages": object, "hosts": dict, "store": str, "store_file": str,
        "listen": str, "keys": str, "insecure": bool,
        "http_token_file": str, "runner": str, "ready_s": float, "grace_s": float,
    },
    "hosts": {"address": str, "fabric": str, "state": str, "runner": str},
    "proxies": {**_PLACED, "listen": str},
    "frames": {**_PLACED, "store": str, "store_file": str},
    "pages": {**_PLACED, "count": int},
}  # fmt: skip
_WANTED = {
    bool: "true or false", str: "text in quotes", list: "a list of texts", int: "a whole number", float: "a number",
    dict: "tables",
}  # fmt: skip


@dataclass(frozen=True)
class Host:
    """Where processes run.

    name:    as in the description; empty for this machine
    runner:  the words that stand before a command to run it there; none for this machine
    address: at which the other hosts reach it
    fabric:  the command there
    state:   the folder there for logs and process ids
    """

    name: str
    runner: tuple[str, ...]
    address: str
    fabric: str
    state: str

    def __str__(self) -> str:
        return f"host {self.name}" if self.name else "this machine"

    def base(self, port: int) -> tuple[str, str]:
        """Return where a proxy here listens, and the base that others connect to."""
        try:
            version = ipaddress.ip_address(self.address).version
        except ValueError:
            return f"tcp://*:{port}", f"tcp://{self.address}:{port}"  # ZeroMQ cannot bind to a host name
        base = f"tcp://[{self.address}]:{port}" if version == 6 else f"tcp://{self.address}:{port}"
        return base, base


def read(text: str) -> dict[str, Any]:
    """Return the description that a TOML file holds; ValueError says what is wrong with it."""
    try:
        description = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    check(description, "")
    return description


def hosts_of(description: Mapping[str, Any], fabric: str, state: str) -> list[Host]:
    """Return its hosts; without any, this machine. `fabric`, `state`: for hosts that do not name theirs."""
    found = []
    for name, table in description.get("hosts", {}).items():
        where = f"hosts.{name}"
        if not _HOST.fullmatch(name):
            raise ValueError(expected("host", name, "letters, digits and _ . @ : -, such as agent@h1.example.org"))
        check(table, "hosts", where)
        words = table.get("runner", description.get("runner", RUNNER)).split()
        if any(mark in word for word in words for mark in "'\"\\"):
            raise ValueError(
                expected(f"runner of {where}", " ".join(words), f"words without quotes, such as {RUNNER!r}")
            )
        runner = tuple(word.replace("{host}", name) for word in words)
        address = table.get("address", name.rpartition("@")[2])
        if not _ADDRESS.fullmatch(address):
            raise ValueError(expected(f"address of {where}", address, "a host name or an address, such as 10.0.0.1"))
        found.append(Host(name, runner, address, table.get("fabric", fabric), table.get("state", state)))
    return found or [Host("", (), "127.0.0.1", fabric, state)]


def place(table: Mapping[str, Any], hosts: list[Host], number: int) -> Host:
    """Return the host that a table names. Without a name the hosts take turns, from number 1 on."""
    if "host" not in table:
        return hosts[(number - 1) % len(hosts)]
    for host in hosts:
        if host.name == table["host"]:
            return host
    known = [*(host.name for host in hosts if host.name), f"one with a table [hosts.{table['host']}]"]
    raise ValueError(expected("host", table["host"], " or ".join(known)))


def tables(description: Mapping[str, Any], kind: str, default: int) -> list[dict[str, Any]]:
    """Return a table for each process of a kind, from `kind = 3` or from `[[kind]]`."""
    wanted = description.get(kind, default)
    if not isinstance(wanted, list):
        return [{}] * whole(wanted, kind)
    for number, table in enumerate(wanted, 1):
        check(table, kind, f"{kind}[{number}]")
    return wanted


def whole(wanted: object, kind: str) -> int:
    """Return a count that may be 0."""
    if type(wanted) is not int or not 0 <= wanted <= MAX_COUNT:
        raise ValueError(expected(kind, wanted, f"0 to {MAX_COUNT}, or tables [[{kind}]]"))
    return wanted


def seconds(description: Mapping[str, Any], key: str, default: int) -> int:
    """Return a time in whole seconds, which is what bash counts in."""
    value: float = description.get(key, default)
    if not 1 <= value <= 3600:
        raise ValueError(expected(key, value, "1 to 3600 seconds"))
    return round(value)


def check(table: object, kind: str, where: str = "") -> None:
    """Check that every key is known, and every value of its type and printable: it becomes part of a line for bash.

    Values are quoted where a shell meets them, so they may hold anything else; only `runner` is words to be run.
    """
    prefix = f"{where}: " if where else ""
    keys = _KEYS[kind]
    if not isinstance(table, Mapping):
        raise ValueError(prefix + expected("description", table, "a table"))
    for key, value in table.items():
        if key not in keys:
            raise ValueError(prefix + expected("key", key, f"one of {', '.join(keys)}"))
        wanted = keys[key]
        if wanted is not object and not _fits(value, wanted):
            raise ValueError(prefix + expected(key, value, _WANTED[wanted]))


def _fits(value: object, wanted: type) -> bool:
    if wanted is list:
        return isinstance(value, list) and all(_fits(each, str) for each in value)
    if wanted is str:
        return isinstance(value, str) and value.strip() != "" and value.isprintable()
    if wanted is bool:
        return isinstance(value, bool)
    return isinstance(value, (int, float) if wanted is float else wanted) and not isinstance(value, bool)

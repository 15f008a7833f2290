"""From a short description of a fabric to its processes: names, hosts, commands, and the order they start in. Pure.

    proxies = 3                     # how many, or a table for each, see below
    frames = 2                      # frame nodes
    pages = 200                     # hosted pages: one process of them on each host
    store = "postgresql://…"        # without a password; default: SQLite in the state folder of the first host
    store_file = "/etc/fabric/store"  # instead: a file of mode 600 on each host of a frame node, which holds the URL
    listen = "tcp://127.0.0.1:5570" # the first proxy's; the others' ports are 10, 20, … above it
    keys = "keys"                   # folder of keys on this machine: `scripts/up` makes and places what is missing
    insecure = true                 # instead: proxies that other machines reach let everybody do everything
    http_token_file = "/etc/fabric/http"  # a token of mode 600 on each host, for the status pages that others may ask
    runner = "ssh {host}"           # what runs a command on a host: `ip netns exec {host}` does as well
    ready_s = 30                    # after this time, a process that is not ready has failed
    grace_s = 10                    # from SIGTERM to SIGKILL

    [hosts.h1]                      # without hosts, everything runs on this machine; with hosts, they take turns
    address = "10.0.0.1"            # at which the others reach it; default: its name
    fabric = "/opt/fabric/bin/fabric"
    state = "/var/lib/fabric"       # folder there for logs and process ids

    [[proxies]]                     # instead of `proxies = 3`; every key may be left out
    name = "p1"
    host = "h1"
    listen = "tcp://10.0.0.1:5570"
    args = ["--drain", "20"]        # added to the command

`[[frames]]` has name, host, store, store_file, args; `[[pages]]` has name, host, count, args. A node connects to the
proxies of its host first, then to all others, so that it can move.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fabric.endpoints import DEFAULT_BASE, PORTS, Endpoints
from fabric.errors import expected
from nodes.deployment.description import Host, check, hosts_of, place, seconds, tables, whole
from nodes.deployment.secret_words import has_password

PORT_STEP = 10
KEYS_FOLDER = "keys"
"""In the state folder of a host: keys.toml, and the private keys of what runs there. scripts/lib/common.sh knows it."""
RESERVED = ("mesh", "scripts")
"""Names of keys that are no process's: what all proxies show, and the scripts' own."""
SEPARATOR = "\x1f"
"""Between the fields of a line: no text of a description holds it, and bash keeps an empty field between two."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Process:
    """One process.

    kind:    `proxy`, `frame` or `page`
    command: its words
    base:    a proxy's address for others, else empty
    alone:   one more word for the command when no proxy runs yet: this one may start the mesh
    readies: how many `ready` lines it prints
    """

    name: str
    kind: str
    host: Host
    command: tuple[str, ...]
    base: str = ""
    alone: str = ""
    readies: int = 1


@dataclass(frozen=True)
class Plan:
    """All processes in the order they start in: proxies, frame nodes, pages.

    keys: folder of keys on the machine where the plan is made; empty: without keys
    """

    processes: tuple[Process, ...]
    ready_s: int
    grace_s: int
    keys: str = ""

    def lines(self) -> Iterator[str]:
        """Yield lines for scripts, fields between SEPARATOR; what a shell is to run is quoted for it.

        ready_s, grace_s, keys; then for each process:
        name, kind, host, runner, state, fabric, base, readies, alone, command
        """
        yield SEPARATOR.join((str(self.ready_s), str(self.grace_s), self.keys))
        for each in self.processes:
            host = each.host
            where = (host.name, " ".join(host.runner), shlex.quote(host.state), shlex.quote(host.fabric))
            how = (each.base, str(each.readies), each.alone, shlex.join(each.command))
            yield SEPARATOR.join((each.name, each.kind, *where, *how))


def make(description: Mapping[str, Any], *, fabric: str, state: str) -> Plan:
    """Return the plan of a description, see above; ValueError says what is wrong and what was expected.

    fabric: the command on this machine, and on hosts that name no other
    state:  the state folder on this machine, and on hosts that name no other
    """
    check({"fabric": fabric, "state": state}, "hosts")
    check(description, "")
    hosts = hosts_of(description, fabric, state)
    proxies = _proxies(description, hosts)
    frames = _frames(description, hosts, proxies)
    pages = _pages(description, hosts, proxies)
    if pages and not frames:
        raise ValueError("pages need a frame node: expected frames (--frames) 1 or more")
    processes = tuple(_secured(each, description) for each in (*proxies, *frames, *pages))
    _check_names(processes)
    _check_reach(proxies, processes)
    _check_secrets(processes)
    _check_open(proxies, description)
    _check_reserved(processes, description)
    return Plan(
        processes, seconds(description, "ready_s", 30), seconds(description, "grace_s", 10), description.get("keys", "")
    )


def _proxies(description: Mapping[str, Any], hosts: list[Host]) -> list[Process]:
    placed: list[tuple[str, Host, str, str, list[str]]] = []
    taken: Counter[Host] = Counter()
    for number, table in enumerate(tables(description, "proxies", 1), 1):
        host = place(table, hosts, number)
        if "listen" in table:
            listen, base = _given_base(table["listen"], host)
        else:
            listen, base = _next_base(description.get("listen", DEFAULT_BASE), host, taken[host])
            taken[host] += 1
        placed.append((table.get("name", f"p{number}"), host, listen, base, table.get("args", [])))
    if not placed:
        raise ValueError("nothing can run without a proxy: expected proxies (--proxies) 1 or more")
    bases = [base for _, _, _, base, _ in placed]
    _check_apart(bases)
    alone = "--first" if len(bases) > 1 else ""
    processes = []
    for name, host, listen, base, args in placed:
        command = [host.fabric, "proxy", "--listen", listen, "--name", name]
        command += ["--advertise", base] if base != listen else []
        command += [word for other in bases if other != base for word in ("--join", other)]
        processes.append(Process(name, "proxy", host, (*command, *args), base, alone))
    return processes


def _check_apart(bases: Iterable[str]) -> None:
    """Raise ValueError when two proxies would use the same port, or the same path."""
    last: dict[str, str] = {}
    for base in sorted(bases, key=lambda base: 0 if base.startswith("ipc:") else _port(base)):
        host = Endpoints.parse(base).host or base
        before = last.get(host)
        if before is not None and (host == base or _port(base) - _port(before) < PORTS):
            raise ValueError(f"the proxies at {before} and {base} overlap: expected bases {PORT_STEP} ports apart")
        last[host] = base


def _given_base(listen: str, host: Host) -> tuple[str, str]:
    endpoints = Endpoints.parse(listen)
    return listen, host.base(_port(listen))[1] if endpoints.is_wildcard else listen


def _next_base(first: str, host: Host, taken: int) -> tuple[str, str]:
    """Return where the next proxy of this host listens, and what others connect to. taken: its proxies so far"""
    if Endpoints.parse(first).host is None:
        if taken or host.name:
            raise ValueError(expected("listen", first, "tcp://HOST:PORT; this has room for one proxy on this machine"))
        return first, first
    port = _port(first) + PORT_STEP * taken
    if host.name:
        listen, base = host.base(port)
        Endpoints.parse(base)
        return listen, base
    return _given_base(f"{first.rpartition(':')[0]}:{port}", host)


def _port(base: str) -> int:
    return int(base.rpartition(":")[2])


def _frames(description: Mapping[str, Any], hosts: list[Host], proxies: list[Process]) -> list[Process]:
    processes: list[Process] = []
    users: dict[str, Host] = {}
    for number, table in enumerate(tables(description, "frames", 0), 1):
        store, store_file = _store(table) or _store(description) or (None, None)
        in_a_file = store_file is None and (store is None or store.startswith("sqlite:"))
        host = place(table, hosts, 1 if in_a_file else number)
        store = store or f"sqlite:///{host.state}/frame.db"
        if in_a_file and users.setdefault(store, host) != host:
            raise ValueError(
                f"frame nodes on {users[store]} and on {host} cannot share {store}: "
                "expected store = 'postgresql://USER@HOST/DATABASE'"
            )
        name = table.get("name", f"f{number}")
        where = ("--store-file", store_file) if store_file else ("--store", store)
        command = (host.fabric, "frame", *where, "--name", name, *_connect(host, proxies, number))
        processes.append(Process(name, "frame", host, (*command, *table.get("args", []))))
    return processes


def _store(table: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    """Return `store` and `store_file`, one of which is given; None where neither is."""
    if "store" in table and "store_file" in table:
        raise ValueError("store and store_file: expected one of them")
    return (table.get("store"), table.get("store_file")) if table.keys() & {"store", "store_file"} else None


def _pages(description: Mapping[str, Any], hosts: list[Host], proxies: list[Process]) -> list[Process]:
    if isinstance(description.get("pages"), list):
        wanted = tables(description, "pages", 0)
    else:
        count = whole(description.get("pages", 0), "pages")
        shares = [count // len(hosts) + (at < count % len(hosts)) for at in range(len(hosts))]
        wanted = [{"count": share} for share in shares if share]
    processes = []
    for number, table in enumerate(wanted, 1):
        host, count = place(table, hosts, number), table.get("count", 1)
        if count < 1:
            raise ValueError(f"pages[{number}]: {expected('count', count, '1 or more')}")
        name = table.get("name", "pages" if len(wanted) == 1 else f"pages{number}")
        command = (host.fabric, "page", "--mask-codes", "--count", str(count), *_connect(host, proxies, number))
        processes.append(Process(name, "page", host, (*command, *table.get("args", [])), readies=count))
    return processes


def _secured(process: Process, description: Mapping[str, Any]) -> Process:
    """Give it its key and the token of its status page, where the description has any. Keys lie in its state folder."""
    more: list[str] = []
    if "keys" in description:
        more += ["--keys", f"{process.host.state}/{KEYS_FOLDER}", "--identity", process.name]
    elif process.kind == "proxy" and not Endpoints.parse(process.base).is_local:
        more += ["--insecure"]  # said by the description, see `_check_open`
    if "http_token_file" in description:
        more += ["--http-token-file", description["http_token_file"]]
    return replace(process, command=(*process.command[:2], *more, *process.command[2:]))


def _check_reserved(processes: Iterable[Process], description: Mapping[str, Any]) -> None:
    for each in processes:
        if "keys" in description and each.name in RESERVED:
            raise ValueError(expected("name", each.name, f"another one: with keys, {' and '.join(RESERVED)} are taken"))


def _check_open(proxies: Iterable[Process], description: Mapping[str, Any]) -> None:
    if "keys" in description and description.get("insecure", False):
        raise ValueError("keys and insecure: expected one of them")
    for each in proxies:
        if not ("keys" in description or description.get("insecure", False) or Endpoints.parse(each.base).is_local):
            raise ValueError(
                f"{each.name} at {each.base} can be reached from other machines, and anyone who reaches it could read "
                "and write everything: expected keys = 'FOLDER' (--keys), or insecure = true (--insecure)"
            )


def _connect(host: Host, proxies: list[Process], number: int) -> Iterator[str]:
    """Yield the options for the proxies of the host, then for the others; node by node from another one on."""
    at = (number - 1) % len(proxies)
    for proxy in sorted(proxies[at:] + proxies[:at], key=lambda proxy: proxy.host != host):
        yield from ("--connect", proxy.base)


def _check_names(processes: Iterable[Process]) -> None:
    for name, count in Counter(each.name for each in processes).items():
        if not _NAME.fullmatch(name):
            raise ValueError(expected("name", name, "1 to 64 letters, digits and _ . -"))
        if count > 1:
            raise ValueError(f"{count} processes are called {name}: expected a different name for each")


def _check_reach(proxies: Iterable[Process], processes: Iterable[Process]) -> None:
    for proxy in (each for each in proxies if Endpoints.parse(each.base).is_local):
        for each in processes:
            if each.host != proxy.host:
                raise ValueError(
                    f"{each.name} on {each.host} cannot reach {proxy.name} at {proxy.base}: "
                    f"expected an address of {proxy.host} that the other hosts reach"
                )


def _check_secrets(processes: Iterable[Process]) -> None:
    """What is in the plan is in a file, and in the list of processes."""
    for each in processes:
        if any(has_password(word) for word in (*each.command, *each.host.runner)):
            raise ValueError(
                f"the command of {each.name} holds a password, which every user of {each.host} could read: expected "
                "store_file (--store-file) with a file of mode 600 that holds the URL, or a ~/.pgpass"
            )

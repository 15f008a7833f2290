"""From a description to its proxies: where each listens, what the others connect to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fabric.endpoints import DEFAULT_BASE, PORTS, Endpoints
from fabric.errors import expected
from nodes.deployment.description import Host, place, tables
from nodes.deployment.process import Placed, Process

PORT_STEP = 10


def proxies_of(description: Mapping[str, Any], hosts: list[Host]) -> list[Placed]:
    """Return its proxies, one where it says nothing. Errors: ValueError."""
    placed: list[tuple[str, Host, str, str, Mapping[str, Any]]] = []
    taken: Counter[Host] = Counter()
    for number, table in enumerate(tables(description, "proxies", 1), 1):
        host = place(table, hosts, number)
        if "listen" in table:
            listen, base = _given_base(table["listen"], host)
        else:
            listen, base = _next_base(description.get("listen", DEFAULT_BASE), host, taken[host])
            taken[host] += 1
        placed.append((table.get("name", f"p{number}"), host, listen, base, table))
    if not placed:
        raise ValueError("nothing can run without a proxy: expected proxies (--proxies) 1 or more")
    bases = [base for _, _, _, base, _ in placed]
    _check_apart(bases)
    alone = "--first" if len(bases) > 1 else ""
    found: list[Placed] = []
    for name, host, listen, base, said in placed:
        command = [host.fabric, "proxy", "--listen", listen, "--name", name]
        command += ["--advertise", base] if base != listen else []
        members = tuple(word for other in bases if other != base for word in ("--join", other))
        found.append((Process(name, "proxy", host, tuple(command), base, alone, members), said))
    return found


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


def bases_for(host: Host, proxies: Sequence[Process], number: int) -> list[str]:
    """Return what a node connects to: the proxies of its host, then the others; node by node from another one on."""
    at = (number - 1) % len(proxies)
    near_first = sorted([*proxies[at:], *proxies[:at]], key=lambda proxy: proxy.host != host)
    return [proxy.base for proxy in near_first]

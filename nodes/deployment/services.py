"""From a description to what is connected with its proxies: keepers, frame nodes, gateways, hosts of pages. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from fabric.errors import expected
from nodes.deployment.description import Host, place, tables, whole
from nodes.deployment.process import Placed, Process
from nodes.deployment.proxies import bases_for

GATEWAY_LISTEN = "http://127.0.0.1:8080"
"""Of the first gateway on a host; that of the next is 1 above."""
SECRET = "gateway.secret"
"""Signs what browsers show, at all gateways of a plan: an agent or a page may come back to another one."""


def keepers_of(description: Mapping[str, Any], hosts: list[Host], proxies: Sequence[Process]) -> list[Placed]:
    """Return its keepers. Each has a store for itself, unless it says else. Errors: ValueError."""
    wanted = tables(description, "keepers", 0)
    found: list[Placed] = []
    for number, table in enumerate(wanted, 1):
        host = place(table, hosts, number)
        name = table.get("name", "keeper" if len(wanted) == 1 else f"keeper-{number}")
        filters = table.get("filters", ())
        if not filters or any(each.startswith("-") for each in filters):
            raise ValueError(f"keepers[{number}]: {expected('filters', list(filters), 'topics such as [truck/#]')}")
        store, store_file = _store(table) or (f"sqlite:///{host.state}/{name}.db", None)
        command = (host.fabric, "keep", *_where(store, store_file), "--name", table.get("keeper", name))
        members = _connect(host, proxies, number)
        found.append((Process(name, "keeper", host, (*command, *filters), members=members), table))
    return found


def frames_of(description: Mapping[str, Any], hosts: list[Host], proxies: Sequence[Process]) -> list[Placed]:
    """Return its frame nodes. In SQLite they share a store, and so a host. Errors: ValueError."""
    found: list[Placed] = []
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
        command = (host.fabric, "frame", *_where(store, store_file), "--name", name)
        found.append((Process(name, "frame", host, command, members=_connect(host, proxies, number)), table))
    return found


def gateways_of(description: Mapping[str, Any], hosts: list[Host], proxies: Sequence[Process]) -> list[Placed]:
    """Return its gateways. Errors: ValueError."""
    found: list[Placed] = []
    taken: Counter[Host] = Counter()
    for number, table in enumerate(tables(description, "gateways", 0), 1):
        host, said = place(table, hosts, number), {**description, **table}
        listen = table.get("listen") or _above(description.get("gateway_listen", GATEWAY_LISTEN), taken[host])
        taken[host] += "listen" not in table
        name = table.get("name", f"g{number}")
        secret_file = said.get("secret_file", f"{host.state}/keys/{SECRET}")
        command = [host.fabric, "gateway", "--listen", listen, "--name", name, "--secret-file", secret_file]
        command += ["--ended", f"{host.state}/{name}.ended"]
        command += ["--agents", said["agents"]] if "agents" in said else []
        command += [word for origin in said.get("allow_origins", ()) for word in ("--allow-origin", origin)]
        made = Process(name, "gateway", host, tuple(command), listen, members=_connect(host, proxies, number))
        found.append((made if "secret_file" in said else _sharing(made), table))
    return found


def pages_of(description: Mapping[str, Any], hosts: list[Host], proxies: Sequence[Process]) -> list[Placed]:
    """Return its hosts of pages: a number of pages is dealt to the hosts, one process on each. Errors: ValueError."""
    if isinstance(description.get("pages"), list):
        wanted = tables(description, "pages", 0)
    else:
        count = whole(description.get("pages", 0), "pages")
        shares = [count // len(hosts) + (at < count % len(hosts)) for at in range(len(hosts))]
        wanted = [{"count": share} for share in shares if share]
    found: list[Placed] = []
    for number, table in enumerate(wanted, 1):
        host, count = place(table, hosts, number), table.get("count", 1)
        if count < 1:
            raise ValueError(f"pages[{number}]: {expected('count', count, '1 or more')}")
        name = table.get("name", "pages" if len(wanted) == 1 else f"pages{number}")
        command = (host.fabric, "page", "--mask-codes", "--count", str(count))
        members = _connect(host, proxies, number)
        found.append((Process(name, "page", host, command, members=members, readies=count), table))
    return found


def _sharing(gateway: Process) -> Process:
    return replace(gateway, secret=SECRET)


def _connect(host: Host, proxies: Sequence[Process], number: int) -> tuple[str, ...]:
    return tuple(word for base in bases_for(host, proxies, number) for word in ("--connect", base))


def _store(table: Mapping[str, Any]) -> tuple[str | None, str | None] | None:
    """Return `store` and `store_file`, one of which is given; None where neither is."""
    if "store" in table and "store_file" in table:
        raise ValueError("store and store_file: expected one of them")
    return (table.get("store"), table.get("store_file")) if table.keys() & {"store", "store_file"} else None


def _where(store: str | None, store_file: str | None) -> tuple[str, str]:
    return ("--store-file", store_file) if store_file else ("--store", store or "")


def _above(url: str, number: int) -> str:
    """Return a URL whose port is so many above. Errors: ValueError."""
    try:
        port = urlsplit(url).port
    except ValueError:
        port = None
    if port is None or not port + number < 65536:
        raise ValueError(expected("gateway_listen", url, "http://HOST:PORT, with room above the port"))
    return f"{url.rpartition(':')[0]}:{port + number}"

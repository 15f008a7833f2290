"""What tables of every kind may say of a process: options, status page, environment, restarts, keys. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from fabric.endpoints import Endpoints
from fabric.errors import expected
from nodes.deployment.description import RESTARTS, Host
from nodes.deployment.process import Placed, Process

KEYS_FOLDER = "keys"
"""In the state folder of a host: keys.toml, and the private keys of what runs there. scripts/lib/common.sh knows it."""
HTTP_STEP = {"frame": 0, "gateway": 100, "keeper": 200, "page": 300}
"""By how much the ports of a kind are above that of `http`. Within a kind, each on a host is 1 above the one before:
one more of a kind moves no other. Proxies have theirs at PORT+5."""
ROLES = {"proxy": "proxy", "keeper": "keeper", "frame": "frame", "gateway": "gateway", "page": "gateway"}


def dressed(placed: Iterable[Placed], description: Mapping[str, Any]) -> Iterator[Process]:
    """Yield each process with what its table, and the description for all, adds to it. Errors: ValueError."""
    counts: Counter[tuple[str, Host]] = Counter()
    for process, table in placed:
        at = process.kind, process.host
        yield _dressed(process, table, description, counts[at])
        counts[at] += 1


def _dressed(process: Process, table: Mapping[str, Any], description: Mapping[str, Any], number: int) -> Process:
    env = (*process.env, *(f"{name}={value}" for name, value in _variables(process, table)))
    restart = table.get("restart", description.get("restart", RESTARTS[0]))
    if restart not in RESTARTS:
        raise ValueError(f"{process.name}: {expected('restart', restart, 'one of ' + ', '.join(RESTARTS))}")
    keys = f"{process.host.state}/{KEYS_FOLDER}" if "keys" in description else ""
    if process.kind == "run":
        if keys:
            env = (f"FABRIC_KEYS={keys}", f"FABRIC_IDENTITY={process.name}", *env)
        return replace(process, env=env, restart=restart)
    more = ["--keys", keys, "--identity", process.name] if keys else []
    if not keys and process.kind == "proxy" and not Endpoints.parse(process.base).is_local:
        more += ["--insecure"]  # said by the description, see `checks`
    more += [word for words in _watching(process, table, description, number) for word in words]
    command = (*process.command[:2], *more, *process.command[2:], *table.get("args", ()))
    return replace(process, command=command, env=env, restart=restart, role=ROLES[process.kind])


def _watching(
    process: Process, table: Mapping[str, Any], description: Mapping[str, Any], number: int
) -> Iterator[tuple[str, ...]]:
    """Yield the options of its status page and its log."""
    if "http" in table:
        yield "--http", table["http"]
    elif "http" in description and process.kind in HTTP_STEP:
        yield "--http", _http(description["http"], HTTP_STEP[process.kind] + number)
    if "http_token_file" in description:
        yield "--http-token-file", description["http_token_file"]
    if description.get("log_json", False):
        yield ("--log-json",)


def _http(url: str, above: int) -> str:
    try:
        port = urlsplit(url).port
    except ValueError:
        port = None
    if port is None or not port + above < 65536:
        raise ValueError(expected("http", url, "http://HOST:PORT, with room for some hundred ports above"))
    return f"{url.rpartition(':')[0]}:{port + above}"


def _variables(process: Process, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in table.get("env", {}).items():
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"{process.name}: {expected('variable', name, 'letters, digits and _')}")
        if not (isinstance(value, str) and value.isprintable()):
            raise ValueError(f"{process.name}: {expected(name, value, 'text in quotes')}")
        yield name, value

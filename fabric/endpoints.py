"""From one base address to the endpoints of a proxy. Pure.

    tcp://host:P   in=P  out=P+1  link=P+3  guest=P+4  http=P+5        P+2 is free
    ipc://path     path.in  path.out  path.link  path.guest  path.http

Who may use which: publishers connect to `in`, nodes to `out`, other proxies to `link`, everything else (plain SUB
sockets in any language) to `guest`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from fabric.errors import expected

DEFAULT_BASE = "tcp://127.0.0.1:5570"
MAX_IPC_BYTES = 100
"""Whole ipc endpoint, suffix included; the operating system's own limit is 108 bytes (unix(7))."""

_OFFSETS = {"in": 0, "out": 1, "link": 3, "guest": 4, "http": 5}
PORTS = max(_OFFSETS.values()) + 1
"""That a proxy takes, from its base on."""
_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]:/;\s]+):([0-9]{1,9})")
"""A host holds no `;`: to libzmq what stands before one is an address to connect from."""


@dataclass(frozen=True)
class Endpoints:
    """The endpoints that belong to one base address. `parse` is the way to get one."""

    base: str
    ingress: str
    out: str
    link: str
    guest: str
    http: str

    @classmethod
    @lru_cache(maxsize=4096)
    def parse(cls, base: str) -> Endpoints:
        """Return the endpoints of `base`; ValueError says what is wrong with it and what was expected.

        cost: 10 us, and next to nothing for a base parsed before: every answer to a marker holds one for each proxy
        """
        if not base.isprintable():
            # libzmq would end it at a NUL, and take another address than the one that was checked.
            raise ValueError(expected("address", base, f"printable characters only, such as {DEFAULT_BASE}"))
        if base.startswith("ipc://"):
            return cls(base, *(_ipc(base, suffix) for suffix in _OFFSETS))
        found = _TCP.fullmatch(base)
        if found is None:
            raise ValueError(expected("address", base, "tcp://HOST:PORT or ipc://PATH"))
        host, port = found[1], int(found[2])
        if not 1 <= port <= 65535 - max(_OFFSETS.values()):
            raise ValueError(expected("port", port, f"1 to 65530 in {base!r}: a proxy uses six ports from there on"))
        return cls(base, *(f"tcp://{host}:{port + offset}" for offset in _OFFSETS.values()))

    @property
    def host(self) -> str | None:
        """The host of a TCP base, without brackets; None for ipc."""
        found = _TCP.fullmatch(self.base)
        return found[1].strip("[]") if found else None

    def to_connect(self) -> dict[str, str]:
        """Return the endpoints by door, `in`, `out`, `link` and `guest`, as this machine reaches them."""
        found = {"in": self.ingress, "out": self.out, "link": self.link, "guest": self.guest}
        if not self.is_wildcard:
            return found
        local = "[::1]" if self.host == "::" else "127.0.0.1"
        return {door: f"tcp://{local}:{endpoint.rpartition(':')[2]}" for door, endpoint in found.items()}

    @property
    def is_wildcard(self) -> bool:
        """True when others cannot connect to this base as it stands (`*`, 0.0.0.0, ::)."""
        return self.host in ("*", "0.0.0.0", "::")

    @property
    def is_local(self) -> bool:
        """True when only this machine can reach it: ipc, localhost, 127.0.0.0/8 and ::1."""
        host = self.host
        if host is None or host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def default_name(self) -> str:
        """A name for the proxy at this base that is one topic level: `127.0.0.1:5570`, or the ipc path with dashes."""
        text = self.base.partition("://")[2]
        return re.sub(r"[/+#$~\s]+", "-", text).strip("-") or "proxy"


def _ipc(base: str, suffix: str) -> str:
    if len(base) == len("ipc://"):
        raise ValueError(expected("address", base, "a path, as in ipc:///run/fabric/p1"))
    endpoint = f"{base}.{suffix}"
    if len(endpoint.encode()) - len("ipc://") > MAX_IPC_BYTES:
        raise ValueError(expected("address", endpoint, f"at most {MAX_IPC_BYTES} bytes: choose a shorter path"))
    return endpoint

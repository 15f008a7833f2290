"""Where Prometheus finds the status pages of a mesh, out of what its processes say. Pure.

The form is that of Prometheus's file_sd_config: a list of `{"targets": ["HOST:PORT"], "labels": {…}}`. The labels are
`process`, the name in the mesh, `host`, and for https Prometheus's `__scheme__`. What a peer says is not trusted:
anything that is no address of a page is passed over.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

WILDCARDS = ("0.0.0.0", "::")
MAX_CHARS = 255
_HOST = re.compile(r"[0-9A-Za-z._:%-]+")


@dataclass(frozen=True, order=True)
class Target:
    """One page. address: `HOST:PORT`; host: the name of the machine, as its process says it."""

    process: str
    address: str
    host: str
    is_tls: bool = False
    is_local: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """What no two pages have in common: an address on loopback is another one on another machine."""
        return self.address, self.host if self.is_local else ""

    def to_map(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        scheme = {"__scheme__": "https"} if self.is_tls else {}
        return {"targets": [self.address], "labels": {"process": self.process, "host": self.host, **scheme}}


def target(told: Any) -> Target | None:
    """Return where a page is, by what its process told of it; None for anything else."""
    if not isinstance(told, dict):
        return None
    url, process, host = (told.get(key) for key in ("url", "process", "host"))
    if not all(
        isinstance(each, str) and 0 < len(each) <= MAX_CHARS and each.isprintable() for each in (url, process, host)
    ):
        return None
    try:
        parts = urlsplit(str(url))
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if (
        parts.scheme not in ("http", "https")
        or not name
        or not port
        or not _HOST.fullmatch(name)
        or not _HOST.fullmatch(str(host))
    ):
        return None
    name = str(host) if name in WILDCARDS else name
    shown = f"[{name}]" if ":" in name else name
    return Target(str(process), f"{shown}:{port}", str(host), parts.scheme == "https", _is_local(name))


def read(entries: Any) -> list[Target]:
    """Return the targets of a file that was written from `to_map`. Errors: ValueError for any other."""
    found: list[Target] = []
    for entry in entries if isinstance(entries, list) else [{}]:
        try:
            (address,), labels = entry["targets"], entry["labels"]
            scheme = labels.get("__scheme__", "http")
            each = target({"url": f"{scheme}://{address}", "process": labels["process"], "host": labels["host"]})
        except (TypeError, ValueError, KeyError, AttributeError):
            each = None
        if each is None:
            raise ValueError("it holds something else than targets of `fabric status --targets`")
        found.append(each)
    return found


def within_reach(found: Iterable[Target], host: str) -> tuple[list[Target], list[Target]]:
    """Return those that the machine `host` can ask, and those on the loopback of other machines."""
    here: list[Target] = []
    away: list[Target] = []
    for each in sorted(set(found)):
        (away if each.is_local and each.host != host else here).append(each)
    return here, away


def merged(before: Iterable[Target], now: Iterable[Target]) -> list[Target]:
    """Return the targets that are there now, and those of before whose address no other has.

    One that does not answer has to stay: Prometheus only misses what it was told of.
    """
    found = {each.place: each for each in before}
    found.update({each.place: each for each in now})
    return sorted(found.values())


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

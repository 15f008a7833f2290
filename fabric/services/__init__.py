"""Request and reply over the fabric: a service is found by its name, and asked within a deadline.

    from fabric.services import Client, Server, each

    with Server(node, "clock", each(lambda request: time.time())):     # in one process, or in several
        ...
    with Client(node) as client:                                       # in another
        client.request("clock", "now", deadline_s=2.0)

Errors that a handler raises come back as what they were: `Busy`, `NotAllowed`, `StateError` and so on. A request that
was not answered in time may have been done all the same; with the same `key` it can be asked again, and one server does
it once.

Reading order: `directory` (who is there), `messages` (the shapes), `calls` (what a client decides), `admission` (what a
server decides), all pure; then `presence`, `server`, `client`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabric.services.client import Client
    from fabric.services.directory import Instance
    from fabric.services.messages import Request
    from fabric.services.server import BatchHandler, Server, each

__all__ = ["BatchHandler", "Client", "Instance", "Request", "Server", "each"]

_HOMES = {
    "BatchHandler": "fabric.services.server",
    "Client": "fabric.services.client",
    "Instance": "fabric.services.directory",
    "Request": "fabric.services.messages",
    "Server": "fabric.services.server",
    "each": "fabric.services.server",
}
"""Where each name is defined. It is imported when it is first asked for, as in `fabric`."""


def __getattr__(name: str) -> Any:
    """source: PEP 562"""
    if name not in _HOMES:
        raise AttributeError(f"module 'fabric.services' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

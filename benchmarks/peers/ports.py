"""Ports for servers on loopback, below those that Linux gives to connections."""

from __future__ import annotations

import contextlib
import socket

_FIRST, _LAST = 21_000, 31_000
_next = _FIRST


def free_ports(count: int = 1) -> int:
    """Return the first of `count` ports in a row that are free; none is given twice by this process."""
    global _next
    while _next + count <= _LAST:
        first, _next = _next, _next + count
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False

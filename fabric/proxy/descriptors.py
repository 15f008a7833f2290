"""Files and connections of a proxy's process: how many there are, and what is done when they run short.

At the limit libzmq takes no connection and tries again at once, for ever: a whole core, and no node gets in. So a
reserve is kept. When it is touched, guests are cut, newest first: they may be anybody, and are told by nobody that they
matter. Who is cut may come again.
"""

from __future__ import annotations

import errno
import os
import socket

from fabric.sockets import descriptor_limit

RESERVE = 128


def descriptors() -> dict[str, int]:
    """Return how many are `used`, how many may be (`limit`), and how many are `enough`: beyond, the reserve is used."""
    limit = descriptor_limit()
    return {"used": open_files(), "limit": limit, "enough": limit - _reserve(limit)}


def open_files() -> int:
    """Number of open files of this process; -1 where the system does not tell. To count them takes one more."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError as error:
            if error.errno == errno.EMFILE:
                return descriptor_limit()
    return -1


def to_be_cut(found: dict[str, int]) -> int:
    """Return how many connections have to go: what is too much and half of the reserve; 0 while there is enough."""
    short = found["used"] - found["enough"]
    return short + _reserve(found["limit"]) // 2 if short > 0 else 0


def cut_connections(endpoint: str, count: int) -> int:
    """Shut down connections that this process has accepted at `endpoint`; return how many.

    count: at most so many, those with the highest descriptors first, which are the newest
    cost:  1 us for each descriptor that is looked at. None is opened: there may be none left

    libzmq's own thread may close one meanwhile and open another under its number, which is cut in its place.
    """
    cut = 0
    for number in range(descriptor_limit() - 1, 2, -1):
        if cut >= count:
            break
        cut += _cut(number, endpoint)
    return cut


def _cut(number: int, endpoint: str) -> bool:
    """Shut down the connection with this descriptor, if that was accepted at `endpoint`."""
    try:
        found = socket.socket(fileno=number)
    except OSError:  # no socket, or nothing
        return False
    try:
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) or not _is_at(found, endpoint):
            return False
        found.shutdown(socket.SHUT_RDWR)
        return True
    except OSError:  # it has just ended
        return False
    finally:
        found.detach()


def _is_at(found: socket.socket, endpoint: str) -> bool:
    if found.family == socket.AF_UNIX:
        return endpoint == f"ipc://{found.getsockname()}"
    return endpoint.startswith("tcp://") and endpoint.endswith(f":{found.getsockname()[1]}")


def _reserve(limit: int) -> int:
    return min(RESERVE, limit // 8)

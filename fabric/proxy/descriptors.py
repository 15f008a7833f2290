"""Files and connections of a proxy's process: how many there are, and what is done when they run short.

At the limit libzmq takes no connection and tries again at once, for ever: a whole core, and no node gets in. So a
reserve is kept. When it is touched, guests are cut, newest first: they may be anybody, and are told by nobody that they
matter. Who is cut may come again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import sys
import termios
from collections.abc import Iterator, Mapping

from fabric.proxy.readers import Seen
from fabric.sockets import descriptor_limit

RESERVE = 128
_TCP_INFO_BYTES, _BYTES_ACKED_AT = 128, 120
"""Of `struct tcp_info`, linux/tcp.h: `tcpi_bytes_acked`, since Linux 4.1."""


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


class Looker:
    """Looks at the connections that this process has accepted at some endpoints.

    endpoints: by door
    """

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        self._endpoints = endpoints
        self._known: dict[tuple[int, int], tuple[str, str, bool] | None] = {}
        """By descriptor and inode: door, peer, and whether it is TCP; None for what is none of them."""

    def look(self) -> list[Seen]:
        """Return all of them. cost: 3 us for each open file, and 5 for each connection"""
        found: list[tuple[int, int, tuple[str, str, bool]]] = []
        poll, known = select.poll(), {}
        for number in _numbers():
            try:
                status = os.fstat(number)
            except OSError:
                continue
            if not stat.S_ISSOCK(status.st_mode):
                continue
            key = (number, status.st_ino)
            what = known[key] = self._known[key] if key in self._known else self._who(number)
            if what is not None:
                found.append((*key, what))
                poll.register(number, select.POLLOUT)
        self._known = known
        free = {number for number, _ in poll.poll(0)} if found else set()
        return [
            Seen(number, inode, door, peer, number not in free, _taken(number, is_tcp))
            for number, inode, (door, peer, is_tcp) in found
        ]

    def _who(self, number: int) -> tuple[str, str, bool] | None:
        try:
            with _borrowed(number) as found:
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    return None
                for door, endpoint in self._endpoints.items():
                    if _is_at(found, endpoint):
                        is_tcp = found.family != socket.AF_UNIX
                        return door, _peer(found) if is_tcp else f"ipc, {_pid(found)}", is_tcp
        except OSError:  # it has just ended, or is no stream
            pass
        return None


def cut(number: int, inode: int) -> bool:
    """Shut down a connection, if it is still the one that was looked at."""
    try:
        if os.fstat(number).st_ino != inode:
            return False
        with _borrowed(number) as found:
            found.shutdown(socket.SHUT_RDWR)
        return True
    except OSError:  # it has just ended
        return False


@contextlib.contextmanager
def _borrowed(number: int) -> Iterator[socket.socket]:
    """A socket of libzmq's, which stays its own."""
    found = socket.socket(fileno=number)
    try:
        yield found
    finally:
        found.detach()


def _numbers() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    return []


def _peer(found: socket.socket) -> str:
    host, port = found.getpeername()[:2]
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _pid(found: socket.socket) -> str:
    with contextlib.suppress(OSError, AttributeError):
        return f"process {struct.unpack('3i', found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]}"
    return "a process"


def _taken(number: int, is_tcp: bool) -> int:
    """Bytes acknowledged; for ipc, and where the system does not tell, those that wait in it, which change."""
    with contextlib.suppress(OSError):
        if is_tcp:
            with _borrowed(number) as found:
                told = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            if len(told) == _TCP_INFO_BYTES:
                return int(struct.unpack_from("=Q", told, _BYTES_ACKED_AT)[0])
        waiting = bytearray(4)
        fcntl.ioctl(number, termios.TIOCOUTQ, waiting)
        return -int.from_bytes(waiting, sys.byteorder)
    return 0


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

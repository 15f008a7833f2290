"""The only place that creates ZeroMQ sockets, and the only one that translates ZeroMQ's errors.

Every option here was paid for; the reasons stand beside them. Facts are about libzmq 4.3.5.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import resource
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, cast

import zmq
import zmq.backend

from fabric.errors import TransportError

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

HWM_MSGS = 100_000
"""Data queue of one connection. 150,000 messages in a burst lose some at 10,000 and none at 100,000."""
STALLED_SLACK_MS = 5_000
"""The system ends a connection of TCP so much later than the proxy would: it does so untold."""
LINK_HWM_MSGS = 1_000_000
"""Data queue of one link: behind it are all subscribers of another proxy."""
GUEST_HWM_MSGS = 1_000
"""Data queue of one guest, at most: it may be anybody, and its queue holds parts of whatever size."""
GUEST_STALLED_MS = 10_000
"""A guest that takes nothing for so long, while something waits for it, is let go by the system; over TCP only."""
UPSTREAM_BYTES = 8 * 1024
"""Largest part that a subscriber's end may send: a node's prefix has at most 4 KiB (`node.interest`), a marker a few
hundred bytes, or claims and one such prefix. A prefix costs each trie on its way up to 340 bytes and 0.1 us a byte: one
of 8 MiB, half a minute."""
HEARTBEAT_IVL_MS = 500
HEARTBEAT_TIMEOUT_MS = 2_000
_M_TRIM_THRESHOLD = -1  # of mallopt(3)
BATCH = 2_000
"""Parts taken from one socket before the others have their turn."""
_serial = itertools.count(1)
MONITOR_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
FAILED_EVENTS = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Curve(NamedTuple):
    """Keys of who connects, as z85: the server's public one, and the own pair."""

    server: str
    public: str
    secret: str


@contextlib.contextmanager
def transport_errors(doing: str) -> Iterator[None]:
    """Turn a ZMQError into a TransportError that says what was being done."""
    try:
        yield
    except zmq.ZMQError as error:
        raise TransportError(f"{doing}: {_plain(error)}") from error


def _plain(error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use: choose another one, or end the process that has it"
    if error.errno == errno.ENODEV:
        return "no such interface or host name on this machine: choose one of its own addresses"
    return str(error.strerror or error)


def new_context(io_threads: int = 1, max_sockets: int = 65_535) -> Context:
    """Return a new context. The caller ends it with `term()`. libzmq takes 12 bytes at once for each of its sockets."""
    context: Context = zmq.Context(io_threads)
    context.set(zmq.MAX_SOCKETS, max_sockets)
    return context


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one: at the limit ipc aborts and TCP spins."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 1_048_576) if hard != resource.RLIM_INFINITY else 1_048_576
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_memory_back() -> None:
    """Have glibc return freed memory to the system; for a process that is a proxy and nothing else.

    By itself it keeps the more the larger the parts were that it freed: 50 MB after some of 7 MiB, 20 MB with this.
    Where there is no glibc, this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, 128 * 1024)


def descriptor_limit() -> int:
    """The number of files and connections this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def xsub(context: Context, *, recv_hwm: int) -> Socket:
    """A receiving socket. SNDHWM=0: subscriptions obey it, and beyond it they would vanish silently."""
    return _make(context, zmq.XSUB, sndhwm=0, rcvhwm=recv_hwm)


def relay_in(context: Context) -> Socket:
    """The XSUB that links to other proxies.

    With heartbeats, and therefore with RCVHWM=0: libzmq aborts the process when a connecting socket with heartbeats
    stays unread beyond the time-out while its queue is bounded (libzmq issue 3937).

    IMMEDIATE: nothing is queued for a peer that is not there. All markers of all nodes would be, for as long as it is
    known (20 MB a minute under stray ones); on connecting, XSUB sends what it holds anyway.
    """
    socket = xsub(context, recv_hwm=0)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    _heartbeats(socket, on=True)
    return socket


def xpub(context: Context, *, send_hwm: int) -> Socket:
    """A sending socket that takes subscriptions. RCVHWM=0, for the subscriptions; a full subscriber loses messages."""
    return _make(context, zmq.XPUB, sndhwm=send_hwm, rcvhwm=0)


def pull(context: Context, *, recv_hwm: int) -> Socket:
    """The receiving end of what publishers send."""
    return _make(context, zmq.PULL, sndhwm=0, rcvhwm=recv_hwm)


def push(context: Context, *, send_hwm: int, timeout_ms: int) -> Socket:
    """The sending end, at a publisher.

    RECONNECT_IVL=-1: it never reconnects by itself, since what is still in its queue would then overtake what was lost
    with the connection. The node makes a new one and sends the unconfirmed parts again, in order.
    """
    socket = _make(context, zmq.PUSH, sndhwm=send_hwm, rcvhwm=0)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.sndtimeo = timeout_ms
    return socket


def with_keys(socket: Socket, curve: Curve | None) -> Socket:
    """Have a socket show keys where it connects from now on, and talk to nobody but their server; return it."""
    if curve is not None:
        with transport_errors("cannot use the keys"):
            socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server.encode())
            socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret.encode())
    return socket


def guarded(socket: Socket, secret: str | None, door: str, *, by_hand: bool = False) -> Socket:
    """Have a socket, where it binds from now on, admit only who shows a key that the ZAP handler knows; return it.

    Without a handler libzmq would admit any key: so it is told that there has to be one.

    secret:  the server's private key, z85; None: no keys, and nothing changes
    door:    what the handler knows this socket by
    by_hand: (XPUB) subscriptions hold only when the reader says so, right after it has read them
    """
    if secret is not None:
        with transport_errors("cannot use the keys"):
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret.encode())
            socket.setsockopt(zmq.ZAP_DOMAIN, door.encode())
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
            if by_hand:
                socket.setsockopt(zmq.XPUB_MANUAL, 1)
    return socket


def answering(context: Context, endpoint: str) -> Socket:
    """Return a REP that is bound: for libzmq's own questions."""
    socket = _make(context, zmq.REP, sndhwm=0, rcvhwm=0)
    with transport_errors(f"cannot listen at {endpoint}"):
        socket.bind(endpoint)
    return socket


def asking(context: Context, endpoint: str) -> Socket:
    """Return a REQ that is connected, within this process."""
    socket = _make(context, zmq.REQ, sndhwm=0, rcvhwm=0)
    socket.connect(endpoint)
    return socket


def doorbell(context: Context) -> Socket:
    """The PUB that wakes a blocking receive from another thread."""
    return _make(context, zmq.PUB, sndhwm=0, rcvhwm=0)


def pair(context: Context, endpoint: str) -> tuple[Socket, Socket]:
    """Return the two ends of a connection within this process; neither ever waits for the other."""
    ends = tuple(_make(context, zmq.PAIR, sndhwm=0, rcvhwm=0) for _ in range(2))
    ends[0].bind(endpoint)
    ends[1].connect(endpoint)
    return ends[0], ends[1]


def monitor(context: Context, watched: Socket, events: int) -> Socket:
    """Return a socket with the events of `watched`.

    High-water mark 0: an unread monitor with a bounded queue blocks libzmq's I/O thread.
    """
    endpoint = f"inproc://monitor-{next(_serial)}"  # never one used before: a closed monitor leaves its name late
    with transport_errors("cannot watch a socket"):
        watched.monitor(endpoint, events)
    socket = _make(context, zmq.PAIR, sndhwm=0, rcvhwm=0)
    socket.connect(endpoint)
    return socket


def bind(
    socket: Socket,
    endpoint: str,
    *,
    max_part_bytes: int,
    send_hwm: int | None = None,
    link: bool = False,
    stalled_ms: int = 0,
) -> None:
    """Bind, with the options that libzmq copies at this moment: limits, and heartbeats for links only.

    stalled_ms: who takes nothing of what waits for it for so long is let go; 0: never
    """
    limit(socket, max_part_bytes=max_part_bytes)
    socket.setsockopt(zmq.TCP_MAXRT, stalled_ms)
    if send_hwm is not None:
        socket.setsockopt(zmq.SNDHWM, send_hwm)
    _heartbeats(socket, on=link)
    with transport_errors(f"cannot listen at {endpoint}"):
        socket.bind(endpoint)


def limit(socket: Socket, *, max_part_bytes: int) -> None:
    """What is larger ends its connection; for addresses that are bound from now on."""
    socket.setsockopt(zmq.MAXMSGSIZE, max_part_bytes)


def fast_send(socket: Socket) -> Callable[[bytes], object]:
    """Return the C method behind `socket.send`: the method itself is Python, for options not used here (0.35 us)."""
    return cast("Callable[[bytes], object]", zmq.backend.Socket.send.__get__(socket))


def nowhere(part: bytes) -> object:
    """Refuse a part, as a closed socket does: what sends where there is none. Errors: zmq.ZMQError."""
    raise zmq.ZMQError(zmq.ENOTSOCK)


def something_waits(socket: Socket) -> Callable[[], bool]:
    """Return a function that says whether a part can be read. To ask costs 0.3 us; to try and be refused, 5."""
    get = cast("Callable[[int], int]", zmq.backend.Socket.get.__get__(socket))
    events = int(zmq.EVENTS)
    return lambda: get(events) & 1 == 1


def read_waiting(socket: Socket) -> Iterable[bytes]:
    """Yield at most BATCH parts that are there. XPUB and XSUB too take each part of several for itself."""
    waits = something_waits(socket)
    for _ in range(BATCH):
        if socket.closed or not waits():
            return
        yield socket.recv()


def events_of(monitor: Socket) -> Iterable[tuple[int, str]]:
    """Yield (event, endpoint) for every event that is there."""
    waits = something_waits(monitor)
    while waits():
        event, endpoint = monitor.recv_multipart(zmq.NOBLOCK)
        yield int.from_bytes(event[:2], "little"), endpoint.decode(errors="replace")


def connect(socket: Socket, endpoint: str) -> None:
    """Connect; libzmq keeps trying, quickly and with a bounded pause, unless the socket is a PUSH of ours."""
    with transport_errors(f"cannot connect to {endpoint}"):
        socket.connect(endpoint)


def disconnect(socket: Socket, endpoint: str) -> None:
    """Disconnect; no error when it was not connected."""
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(endpoint)


def _make(context: Context, kind: int, *, sndhwm: int, rcvhwm: int) -> Socket:
    with transport_errors("cannot create a socket"):
        socket: Socket = context.socket(kind)
    set_option = _option_setter(socket)
    try:
        set_option(_SNDHWM, sndhwm)
        set_option(_RCVHWM, rcvhwm)
        for option, value in _OPTIONS:
            set_option(option, value)
    except BaseException:
        socket.close(linger=0)
        raise
    return socket


_SNDHWM, _RCVHWM = int(zmq.SNDHWM), int(zmq.RCVHWM)
_OPTIONS = tuple(
    (int(option), value)
    for option, value in {
        zmq.LINGER: 0,
        zmq.IPV6: 1,
        # A lost SYN must not cost a minute, nor a dead peer a busy loop.
        zmq.CONNECT_TIMEOUT: 2_000,
        zmq.RECONNECT_IVL: 20,
        zmq.RECONNECT_IVL_MAX: 500,
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 10,
        zmq.TCP_KEEPALIVE_INTVL: 5,
        zmq.TCP_KEEPALIVE_CNT: 3,
        zmq.HANDSHAKE_IVL: 5_000,
    }.items()
)


def _option_setter(socket: Socket) -> Callable[[int, int], None]:
    """Return the C method behind `setsockopt`, which is Python: it took a fifth of the time to make a node."""
    return cast("Callable[[int, int], None]", zmq.backend.Socket.set.__get__(socket))


def _heartbeats(socket: Socket, *, on: bool) -> None:
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_IVL_MS if on else 0)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS if on else 0)

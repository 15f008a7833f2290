"""Names that stand for several addresses, of both families, and why an address was not reached.

libzmq takes the first address of a name, and never another one. So a name with several is taken apart here.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from fabric.endpoints import Endpoints

RESOLVE_S = 5.0
TRY_S = 0.5
"""How long one address is tried, to say why it was not reached."""
GREETING_S = 0.2
"""How long a port is given to greet as ZeroMQ does; it greets at once."""
_GREETING = b"\xff"
"""Its first byte. source: ZMTP 3.1, 'signature'"""
_OFFSETS = (1, 3, 4, 5)
"""From a proxy's base to its other ports, see `fabric.endpoints`."""
T = TypeVar("T")


def addresses(base: str, timeout_s: float = RESOLVE_S) -> tuple[str, ...]:
    """Return the bases that a base stands for, one for each address of its host, families in turn (RFC 8305, 4).

    returns: nothing for ipc, for what is an address itself, and for a name that was not found in time
    """
    host = Endpoints.parse(base).host
    if host is None or not _is_name(base):
        return ()
    port = base.rpartition(":")[2]
    found = _in_time(lambda: _resolved(host), timeout_s) or []
    return tuple(f"tcp://[{each}]:{port}" if ":" in each else f"tcp://{each}:{port}" for each in found)


def expanded(bases: Iterable[str], timeout_s: float = RESOLVE_S) -> tuple[str, ...]:
    """Return these bases, each once, with the addresses of a name that has several before it.

    The name stays: it may stand for other addresses later, and libzmq looks it up each time.
    """
    found: list[str] = []
    for base in bases:
        several = addresses(base, timeout_s)
        found += [*several, base] if len(several) > 1 else [base]
    return tuple(dict.fromkeys(found))


def why_not_reached(bases: Sequence[str], timeout_s: float = TRY_S) -> list[str]:
    """Like `reasons`, each with its address before it."""
    return [f"{base}: {why}" for base, why in reasons(bases, timeout_s).items()]


def reasons(bases: Sequence[str], timeout_s: float = TRY_S) -> dict[str, str]:
    """Try the `out` of each address once more, all at once; return in words why each was not reached, by address.

    An address that takes the connection is named as well: what listens there has not answered. So is another port of a
    proxy, with the base that is meant.
    """
    each_address = list(dict.fromkeys(chain.from_iterable(addresses(base, timeout_s) or (base,) for base in bases)))
    whys: dict[str, str] = {}

    def look(base: str) -> None:
        whys[base] = _why(base, timeout_s)

    threads = [threading.Thread(target=look, args=(base,), daemon=True) for base in each_address]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s + 0.5)
    return {base: whys.get(base, "no answer") for base in each_address}


class Names:
    """What some bases stand for, looked up in threads: who asks never waits, but when this is made.

    bases: looked up at once, for `timeout_s` at most
    """

    def __init__(self, bases: Iterable[str], timeout_s: float = 1.0) -> None:
        self._known: dict[str, tuple[str, ...]] = {}
        """By base, its addresses as last found. A thread replaces one at a time."""
        threads = [self._look_up(base) for base in dict.fromkeys(bases) if _is_name(base)]
        for thread in threads:
            thread.join(timeout_s)

    def of(self, base: str) -> tuple[str, ...]:
        """Return the addresses of a base as last found, or itself; they are looked up again meanwhile."""
        if _is_name(base):
            self._look_up(base)
        return self._known.get(base) or (base,)

    def is_several(self, base: str) -> bool:
        """Whether it stood for more than one address when it was last looked up."""
        return len(self._known.get(base, ())) > 1

    def _look_up(self, base: str) -> threading.Thread:
        def run() -> None:
            found = addresses(base)
            if found:
                self._known[base] = found

        thread = threading.Thread(target=run, name="fabric-resolve", daemon=True)
        thread.start()
        return thread


def _is_name(base: str) -> bool:
    host = Endpoints.parse(base).host
    if host is None or host == "*":
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False


def _resolved(host: str) -> list[str]:
    """Addresses of a host, families in turn, the system's first choice first. Errors: OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    families: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, []).append(str(address[0]))
    in_turn = chain.from_iterable(zip_longest(*families.values()))
    return list(dict.fromkeys(each for each in in_turn if each is not None))


def _why(base: str, timeout_s: float) -> str:
    endpoint = Endpoints.parse(base).out
    try:
        if endpoint.startswith("ipc://"):
            with socket.socket(socket.AF_UNIX) as tried:
                tried.settimeout(timeout_s)
                tried.connect(endpoint.removeprefix("ipc://"))
        else:
            host, port = Endpoints.parse(base).host, int(endpoint.rpartition(":")[2])
            socket.create_connection((host, port), timeout_s).close()
    except socket.gaierror:
        return "no such host"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        if error.errno != errno.ECONNREFUSED:
            return os.strerror(error.errno).lower() if error.errno else str(error)
        why = "refused: nothing listens there"
    else:
        why = "something listens there, and no proxy that is a member of a mesh answered"
    meant = base_meant(base)
    return f"that is another port of the proxy at {meant}: expected its base" if meant is not None else why


def base_meant(base: str) -> str | None:
    """Return the base of the proxy that has `base` among its other ports; None when there is no such proxy.

    A proxy is where all of `out`, `link` and `guest` greet as ZeroMQ does: three ports in their places.
    """
    host = Endpoints.parse(base).host
    if host is None:
        return None
    front, _, port = base.rpartition(":")
    for offset in _OFFSETS:
        try:
            found = Endpoints.parse(f"{front}:{int(port) - offset}")
        except ValueError:  # below the first port
            continue
        doors = (found.out, found.link, found.guest)
        if all(_greets(host, int(door.rpartition(":")[2])) for door in doors):
            return found.base
    return None


def _greets(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), GREETING_S) as tried:
            return tried.recv(1) == _GREETING
    except OSError:
        return False


def _in_time(fun: Callable[[], T], timeout_s: float) -> T | None:
    """Return what `fun` does, in a thread: a name server that is away must not hold up who asks. None: an OSError."""
    found: list[T] = []

    def run() -> None:
        try:
            found.append(fun())
        except (OSError, UnicodeError):
            pass

    thread = threading.Thread(target=run, name="fabric-resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return found[0] if found else None

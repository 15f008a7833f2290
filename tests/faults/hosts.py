"""Hosts of network namespaces for tests, each with an address and a cable that can be cut.

    with hosts(3) as (h1, h2, h3):
        Process([*h1.prefix, "fabric", "proxy", "--listen", f"tcp://{h1.address}:5570"], …)
        h1.cut(); h1.heal()

Where the kernel or the rights do not allow it, `NoHosts` says why. Their queues in the kernel are small, so that who
does not read soon makes others wait, or lose, with little traffic.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SYSCTL = "/proc/sys/net/ipv4"
BUFFER = "4096 16384 65536"
"""Of a TCP connection, bytes: least, default, most; the kernel's own grow to 6 MB."""
_numbers = itertools.count()


class NoHosts(Exception):
    """There are no network namespaces to be had here; the message says what is lacking."""


@dataclass(frozen=True)
class Host:
    """One host. `prefix`: words before a command that shall run on it; the process keeps its id."""

    name: str
    address: str
    namespace: str
    cable: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)

    def cut(self) -> None:
        _ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        _ip("link", "set", self.cable, "up")


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Make hosts h1, h2, … on a bridge of their own, and take them away at the end."""
    tag = f"f{os.getpid() % 10**6}x{next(_numbers)}"
    net = f"10.{random.randrange(100, 250)}.{random.randrange(250)}"
    with contextlib.ExitStack() as undo:
        _make(undo, "link", "add", f"{tag}br", "type", "bridge", undone=("link", "del", f"{tag}br"))
        _ip("link", "set", f"{tag}br", "up")
        found = []
        for number in range(1, count + 1):
            host = Host(f"h{number}", f"{net}.{number}", f"{tag}-h{number}", f"{tag}h{number}")
            _make(undo, "netns", "add", host.namespace, undone=("netns", "del", host.namespace))
            cable = ("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _make(undo, *cable, undone=("link", "del", host.cable))
            _ip("link", "set", host.cable, "master", f"{tag}br", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            _run([*host.prefix, "sh", "-c", f"for way in rmem wmem; do echo {BUFFER} > {SYSCTL}/tcp_$way; done"])
            found.append(host)
        yield found


def _make(undo: contextlib.ExitStack, *words: str, undone: tuple[str, ...]) -> None:
    try:
        _ip(*words)
    except (OSError, RuntimeError) as error:
        raise NoHosts(f"network namespaces cannot be used here: {error}") from None
    undo.callback(_ip, *undone)


def _ip(*words: str) -> None:
    _run(["ip", *words])


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")

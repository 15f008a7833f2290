"""What can be read on the wire: a capture of loopback, with keys and without.

Two proxies and their link, a publisher and a subscriber. Without keys the same search finds every word.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabric import Node, Proxy
from tests.support.keys import KeyFolder
from tests.support.processes import PORTS_OF_A_PROXY, free_base
from tests.support.waiting import PATIENCE_S, Box

TOPIC, FILTER, PAYLOAD, HEADER = "wire/ciphered", "wire/#", "mayonnaise", "horseradish"
ALL, SO_ATTACH_FILTER = 3, 26  # of Linux


def only(first: int, last: int) -> bytes:
    """Return a program for the kernel: TCP over IPv4 from or to these ports, and nothing else.

    All tests of this machine talk over loopback: what is not asked for would fill the queue.
    source: bpf(4); what stands where: an Ethernet head of 14 bytes, the IP head, whose length is in its first byte
    """
    load_half, load_byte, load_head, half_at = 0x28, 0x30, 0xB1, 0x48
    equal, at_least, above, give = 0x15, 0x35, 0x25, 0x06
    steps = (
        (load_half, 0, 0, 12), (equal, 0, 10, 0x0800), (load_byte, 0, 0, 23), (equal, 0, 8, 6), (load_head, 0, 0, 14),
        (half_at, 0, 0, 14), (at_least, 0, 1, first), (above, 0, 3, last),
        (half_at, 0, 0, 16), (at_least, 0, 2, first), (above, 1, 0, last),
        (give, 0, 0, 0x40000), (give, 0, 0, 0),
    )  # fmt: skip
    return b"".join(struct.pack("HBBI", *step) for step in steps)


class Capture:
    """Whatever passes loopback from or to these ports, since it was made; `close` ends it."""

    def __init__(self, first: int, last: int) -> None:
        self.seen = b""
        """The packets; whole when it is closed."""
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        program = ctypes.create_string_buffer(only(first, last))
        pointer = struct.pack("HL", (len(program) - 1) // 8, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        packets = []
        while True:
            try:
                packets.append(self._socket.recv(65_600))
            except TimeoutError:  # what was sent before has been queued
                if self._ended.is_set():
                    break
        self.seen = b"".join(packets)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def capture(base: str, ports: int) -> Iterator[Capture]:
    first = int(base.rpartition(":")[2])
    try:
        found = Capture(first, first + ports - 1)
    except (PermissionError, AttributeError):
        pytest.skip("packets cannot be captured here: it takes root, on Linux")
    try:
        yield found
    finally:
        found.close()


def talk(folder: KeyFolder | None) -> bytes:
    """Have a message pass from a node by two proxies to another node; return all that was on the wire."""
    base = free_base(2 * PORTS_OF_A_PROXY)
    other = f"tcp://127.0.0.1:{int(base.rpartition(':')[2]) + PORTS_OF_A_PROXY}"
    p1, p2, op = (folder.keys(name) if folder is not None else None for name in ("p1", "p2", "op"))
    with (
        capture(base, 2 * PORTS_OF_A_PROXY) as wire,
        Proxy(base, name="p1", settle_s=0.1, keys=p1) as one,
        Proxy(other, name="p2", settle_s=0.1, join=[base], keys=p2) as two,
    ):
        assert one.wait_ready(PATIENCE_S) and two.wait_ready(PATIENCE_S)
        with Node(base, keys=op) as here, Node(other, keys=op) as there:
            box = Box()
            assert here.wait_ack(here.subscribe(FILTER, box), PATIENCE_S).covered == ("p1", "p2")
            there.publish(TOPIC, PAYLOAD, headers={"h": HEADER})
            assert box.wait()[0].payload == PAYLOAD
    return wire.seen


READABLE = [TOPIC, PAYLOAD, HEADER, "wire/", "$ack/", "$fabric/proxy/", "marker", "nonce"]


def test_without_keys_everything_can_be_read() -> None:
    seen = talk(None)
    assert [word for word in READABLE if word.encode() not in seen] == [] and b"CURVE" not in seen


def test_with_keys_nothing_can_be_read(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", {"p1": "proxy", "p2": "proxy", "op": "operator"})
    seen = talk(folder)
    assert [word for word in READABLE if word.encode() in seen] == []
    secrets = [folder.mesh[1], *(secret for _, secret in folder.pairs.values())]
    assert not any(secret.encode() in seen for secret in secrets)
    assert b"CURVE" in seen, "it is what was looked for"

"""What the switch and its control thread say to each other, over one pair of sockets. Pure.

A *command* goes to the switch: a letter, and what belongs to it. A *report* comes back: one byte for the place it came
from (`Place`), then the part that was met there. Reports of the place CONTROL are answers to commands:
the echo of a word, or why a command failed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple


class Place(IntEnum):
    """The sockets of a switch, in the order in which it is given them."""

    CONTROL = 0
    PULL = 1
    OUT = 2
    RELAY = 3
    LINK = 4
    GUEST = 5


KINDS = (
    "no_topic",
    "bad_topic",
    "local_scope",
    "system",
    "too_large",
    "several",
    "not_control",
    "guest",
    "flooded",
    "failed",
    "not_allowed",
    "forged",
    "unsure",
)
"""Why the switch refuses a part. Those of a publisher, as in `fabric.wire.decode`, and `system`: a first level with `$`
that publishers may not use. `several`: of more than one frame. From a subscriber's end: `not_control`; `guest`, which
may only subscribe. `flooded`: the control thread was too far behind to be told. `failed`: libzmq did not take it. With
keys: `not_allowed`, also for what is subscribed to; `forged`, a publisher's id without the sender's tag; `unsure`, a
subscription or cancel that libzmq may have taken for another peer's, see `fabric.core.gate`."""

MAX_AHEAD = 10_000
"""Reports that the control thread has not read yet, from which on only subscriptions and cancels are told."""
MAX_AHEAD_BYTES = 64 * 1024 * 1024
"""The same, by the bytes of these reports."""
WEIGH_BYTES = 16 * 1024
"""What waits to be sent is weighed so often, on average: one part, chosen by chance, stands for so many bytes."""
PART_BYTES = 96
"""What a part costs beside its bytes, while it waits."""
BURST = 128
"""Parts taken from one socket before the others have their turn."""
SLICE = 4
"""Batches of retained values sent before the sockets have their turn: 64 KiB each, 20 to 100 us."""
MAX_TOURS = 10_000
"""Ways through the table that are under way; beyond, a marker is not answered, and its node repeats it."""
SWEPT_AT_ONCE = 5_000
"""Retained values whose time is over, seen to before the sockets have their turn: 1 us each."""


class Counts(NamedTuple):
    """What has passed since the start.

    parts, bytes:  `in` from publishers, taken; `out` to nodes and links: of publishers, and of this proxy itself;
                   `relay` from other proxies, to nodes; `guest` to guests, once one has subscribed.
                   A part that a full subscriber loses counts, too
    refused:       parts by kind, see `KINDS`; only kinds that happened
    prefixes:      subscribed and not cancelled since, at `out`, `link` and `guest`. A stray cancel counts, too
    answered:      markers answered by the switch itself
    retained:      see `retained.Table.figures`; and `tours` that are under way
    queued:        bytes that wait here for slow readers, about; a part that waits for several counts once
    """

    parts: Mapping[str, int]
    bytes: Mapping[str, int]
    refused: Mapping[str, int]
    prefixes: Mapping[str, int]
    answered: int
    retained: Mapping[str, int]
    queued: int = 0


# --- commands


def send(place: Place, part: bytes) -> bytes:
    """Send `part` at one socket."""
    return b"S" + bytes([place]) + part


def say(part: bytes) -> bytes:
    """Send `part` to nodes, links and guests, as what a publisher says, unchecked."""
    return b"Y" + part


def answer_with(place: Place, head: bytes, tail: bytes) -> bytes:
    """Answer plain markers met at OUT or LINK from now on: `$ack/<token>/m` NUL, head, the nonce as bin, tail."""
    return b"A" + bytes([place]) + struct.pack("=I", len(head)) + head + tail


def bind(place: Place, endpoint: str) -> bytes:
    return b"B" + bytes([place]) + endpoint.encode()


def connect(place: Place, endpoint: str) -> bytes:
    return b"C" + bytes([place]) + endpoint.encode()


def disconnect(place: Place, endpoint: str) -> bytes:
    return b"D" + bytes([place]) + endpoint.encode()


def expect_key(place: Place, public_key: str) -> bytes:
    """Where it connects from now on, talk to nobody but who has this key, z85."""
    return b"K" + bytes([place]) + public_key.encode()


def turn_away(place: Place) -> bytes:
    """Read nothing more at this socket, for good. What waits there is not taken, and nobody is told that it was."""
    return b"X" + bytes([place])


def echo(word: bytes) -> bytes:
    """Have `word` reported, behind all that the switch told before."""
    return b"E" + word


def claim_all(address: bytes) -> bytes:
    """Tell another proxy the stamps of all retained values. address: `retained.address_of` its incarnation"""
    return b"O" + address


def hand_over(address: bytes, back: bytes) -> bytes:
    """Give another proxy all retained values. back: the own address, where it says that it has them"""
    return b"H" + address + back


SWEEP = b"W"
"""Have the gate forget those who have left."""
AGE = b"V"
"""See to the retained values whose time is over."""
RULES = b"G"
"""Judge by what the gate holds now."""
END = b"Q"
"""Leave the loop, behind all commands before."""


# --- reports


class Failure(NamedTuple):
    """A command that libzmq refused: its letter, where, the errno, and the endpoint."""

    letter: str
    place: Place
    number: int
    endpoint: str

    def __str__(self) -> str:
        doing = {"B": "listen at", "C": "connect to", "D": "disconnect from", "K": "expect"}.get(self.letter, "use")
        return f"cannot {doing} {self.endpoint}: {os.strerror(self.number)}"


def failure(letter: bytes, place: int, number: int, endpoint: bytes) -> bytes:
    """Return the report, from its place on."""
    return bytes([Place.CONTROL]) + letter + bytes([place]) + struct.pack("=I", number) + endpoint


def read_failure(report: bytes) -> Failure:
    """Read a report of CONTROL that is no echo."""
    letter, place, number = report[1:2].decode(), Place(report[2]), struct.unpack("=I", report[3:7])[0]
    return Failure(letter, place, number, report[7:].decode(errors="replace"))

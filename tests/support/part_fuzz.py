"""Any bytes, given to both builds of what reads parts: what a proxy lets in, markers, and what a node makes of them.

`compare` is for the corpus, and for the fuzzer of `scripts/fuzz`, which looks for input that takes a way through the
plain twins that none before has taken.

    python -m tests.support.part_fuzz read FOLDER      # the corpus, lines in base64, as a folder of inputs
    python -m tests.support.part_fuzz write FOLDER     # and back
"""

from __future__ import annotations

import base64
import sys
import threading
from pathlib import Path
from typing import Any

from fabric.core import _intake, _switch, entry, intake
from fabric.node.receiver import Receiver
from fabric.wire import Message

MAX_BODY_BYTES = 300
"""Small, so that short inputs are too large, too."""
CORPUS = Path(__file__).parents[1] / "fabric" / "core" / "corpus.txt"


class Told:
    """What one receiver made of parts, in order: all that it calls, and its counters."""

    def __init__(self, kind: Any) -> None:
        self.events: list[tuple[str, str]] = []
        self.receiver = Receiver(
            threading.RLock(),
            b"$ack/me/",
            lambda raw, body: self._note("private", (raw, body)),
            lambda gap: self._note("gap", gap),
            lambda payload: self._note("notice", payload),
            max_payload_bytes=MAX_BODY_BYTES,
            reorder_window_s=0.5,
            max_entries=100,
            clock=lambda: 100.0,
            intake=kind,
        )
        self.receiver.broker.subscribe("a/+", self._heard)
        self.receiver.broker.subscribe("a/#", self._heard)

    def _note(self, what: str, of: object) -> None:
        self.events.append((what, repr(of)))  # nan is not equal to itself

    def _heard(self, message: Message) -> None:
        self._note("heard", message)
        if message.payload == "raise":
            raise ValueError("as the input wants it")

    def counters(self) -> tuple[Any, ...]:
        """All that a node shows of it."""
        receiver, detector = self.receiver, self.receiver.detector
        told = (receiver.received, receiver.unmatched, dict(receiver.refused), receiver.failed_callbacks)
        return (*told, detector.duplicates, detector.gaps, detector.lost, detector.started_late)


def parts_of(data: bytes) -> list[bytes]:
    """Cut: each part follows a byte with its length; 255 says that the next two bytes have it."""
    parts: list[bytes] = []
    while data:
        size, data = data[0], data[1:]
        if size == 255 and len(data) >= 2:
            size, data = int.from_bytes(data[:2], "little"), data[2:]
        parts.append(data[:size])
        data = data[size:]
    return parts


def compare(data: bytes) -> None:
    """Give the parts to both builds. Raises AssertionError where they differ."""
    parts = parts_of(data)
    for part in parts:
        plain, compiled = entry.refusal(part, MAX_BODY_BYTES), _switch.refusal(part, MAX_BODY_BYTES)
        assert plain == compiled, f"{part!r} is {plain!r} by the plain twin, {compiled!r} by the compiled one"
        marker, compiled_marker = entry.read_marker(part), _switch.read_marker(part)
        assert marker == compiled_marker, f"{part!r} reads as {marker!r} and {compiled_marker!r}"
    told = []
    for kind in (intake.Intake, _intake.Intake):
        side = Told(kind)
        for part in parts:
            side.receiver.intake.take(part)
        side.receiver.tick(101.0)  # what was held until then is let go of
        told.append((side.events, side.counters()))
        side.receiver.intake.close()
    assert told[0] == told[1], f"{parts!r} gave\n{told[0]}\n{told[1]}"


def corpus() -> list[bytes]:
    """The inputs that are kept."""
    return [base64.b64decode(line) for line in CORPUS.read_text().split()]


def write(folder: Path) -> None:
    """Keep all files of `folder`, shortest first."""
    found = sorted({each.read_bytes() for each in folder.iterdir()}, key=lambda data: (len(data), data))
    CORPUS.write_text("".join(base64.b64encode(data).decode() + "\n" for data in found if data))


def read(folder: Path) -> None:
    """Write each input that is kept into a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpus()):
        (folder / f"kept-{number}").write_bytes(data)


if __name__ == "__main__":
    {"read": read, "write": write}[sys.argv[1]](Path(sys.argv[2]))

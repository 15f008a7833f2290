"""Recordings as files: lines of JSON, plain or in gzip, and MCAP; which one, a reader finds out by itself."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from fabric.wire import Message
from nodes.recording import lines, mcap_file
from nodes.recording.lines import CutOff, Item

_GZIP = b"\x1f\x8b"


class Sink(Protocol):
    """What a recorder writes to."""

    def write(self, line: str, at_ns: int, message: Message | None = None) -> None:
        """Add one line of `nodes.recording.lines`. at_ns: its time on the recorder's clock; message: what it holds."""

    def flush(self) -> None:
        """Hand everything to the system: it is in the file even if this process is killed now."""

    def finish(self) -> None:
        """Write what belongs at the end. The file stays open."""


class LinesFile:
    """A `Sink` of lines of JSON, in UTF-8."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, line: str, at_ns: int, message: Message | None = None) -> None:
        self._file.write(line.encode())
        self._file.write(b"\n")

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.flush()


def read(file: io.BufferedReader) -> Iterator[Item]:
    """Yield what a recording holds, from where the file stands; it need not be one that can go back.

    errors: OtherVersion; OSError; ModuleNotFoundError when it is MCAP and `mcap` is not installed
    """
    start = file.peek(len(mcap_file.MAGIC))
    if start.startswith(mcap_file.MAGIC):
        yield from mcap_file.read(file)
    elif start.startswith(_GZIP):
        yield from _read_gzip(file)
    else:
        yield from lines.read(file.readline)


def _read_gzip(file: io.BufferedReader) -> Iterator[Item]:
    """Lines in gzip; a file that is cut off, or damaged so that nothing behind it can be read, ends with a CutOff."""
    line = 0

    def readline(most: int) -> bytes:
        nonlocal line
        line += 1
        return unpacked.readline(most)

    with gzip.GzipFile(fileobj=file) as unpacked:
        try:
            yield from lines.read(readline)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            yield CutOff(line)

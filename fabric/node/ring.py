"""What a node published lately, kept to be sent once more to who lost it. Pure, but for being fast.

The parts are kept by reference, in the batches in which `Unconfirmed` counts them, until there are too many bytes or
they are too old. Nothing is looked up until somebody asks: then each chunk makes its own index, once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable

from msgpack import Unpacker, unpackb  # type: ignore[import-untyped]

from fabric.protocol.retained import HELD

MAX_BYTES = 16 * 1024 * 1024
MAX_AGE_S = 60.0
CHUNK_PARTS = 1_024
"""A chunk grows up to so many parts, and for up to `CHUNK_S`: how finely age and bytes are told."""
CHUNK_S = 1.0


_CHUNKS = 16
"""A chunk takes at most this part of the ring's bytes, or one part alone."""
_OLD = frozenset(("tail", HELD))
"""Headers of parts whose number is an old one."""
_SMALL_BYTES = 4096
"""Parts up to this size are decoded whole to read their heads: that costs a third."""


class _Chunk:
    """Parts that followed each other."""

    __slots__ = ("_indexed", "_read", "_unread", "parts", "since", "size")

    def __init__(self, since: float) -> None:
        self.parts: list[bytes] = []
        """In the order they were sent; only ever more."""
        self.size = 0
        """Bytes of them, with what each costs beside its contents."""
        self.since = since
        """When the chunk was begun."""
        self._indexed = 0
        """So many of the parts went to `_unread`."""
        self._unread: dict[bytes, list[bytes]] = {}
        """Of these, by topic, with its NUL: those whose heads were not read yet."""
        self._read: dict[tuple[bytes, int], tuple[list[int], list[bytes]]] = {}
        """By topic and publisher: the numbers of the others, in order, and the parts."""

    def find(self, prefix: bytes, publisher: int) -> tuple[list[int], list[bytes]]:
        """Return numbers and parts. cost: once 0.2 us for each part, and 0.5 us for each on this topic"""
        while self._indexed < len(self.parts):
            part = self.parts[self._indexed]
            self._indexed += 1
            self._unread.setdefault(part[: part.find(b"\0") + 1], []).append(part)
        for part in self._unread.pop(prefix, ()):
            head = _head(part, len(prefix))
            if head is not None:
                numbers, parts = self._read.setdefault((prefix, head[0]), ([], []))
                if not numbers or head[1] > numbers[-1]:  # what was interrupted is added twice
                    numbers.append(head[1])
                    parts.append(part)
        return self._read.get((prefix, publisher), ([], []))


class Ring:
    """The last parts of one publisher. Not locked: use it under the lock that orders the sends.

    max_bytes: 0: nothing is kept
    max_age_s: told to within `CHUNK_S`
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_age_s: float = MAX_AGE_S) -> None:
        self._max_bytes, self._max_age_s = max_bytes, max_age_s
        self._chunks: deque[_Chunk] = deque()
        """Oldest first. None is empty, but for the last one behind an interrupt."""
        self._bytes = 0
        """The sum of their sizes; at most `_max_bytes` when a method returns."""
        self._now: float | None = None
        """When `tick` was last called: a clock costs more than the rest. None: never yet."""
        self.added_bytes = 0
        """Bytes that were added since the start."""

    @property
    def is_kept(self) -> bool:
        """Whether anything is kept at all."""
        return self._max_bytes > 0

    def __len__(self) -> int:
        return sum(len(chunk.parts) for chunk in self._chunks)

    def add(self, batch: list[bytes], size: int) -> None:
        """Keep these parts, of `size` bytes together with what they cost. The list is not kept."""
        if not self._max_bytes:
            return
        room = self._max_bytes // _CHUNKS
        if size > room and len(batch) > 1:
            half = len(batch) // 2
            beside = (size - sum(map(len, batch))) // len(batch)
            for some in (batch[:half], batch[half:]):
                self.add(some, sum(map(len, some)) + beside * len(some))
            return
        if (
            not self._chunks
            or len(self._chunks[-1].parts) >= CHUNK_PARTS
            or self._chunks[-1].size + size > room
            or (self._now or 0.0) > self._chunks[-1].since + CHUNK_S
        ):
            self._chunks.append(_Chunk(self._now or 0.0))
        chunk = self._chunks[-1]
        # No call for these steps: an interrupt finds all done, or none; see `fabric.node.unconfirmed`.
        chunk.parts += batch
        chunk.size += size
        self._bytes += size
        self.added_bytes += size
        while self._bytes > self._max_bytes:
            self._let_go_of_oldest()

    def tick(self, now: float) -> None:
        """Let go of what is too old."""
        if self._now is None:
            for chunk in self._chunks:
                chunk.since = now
        self._now = now
        while self._chunks and self._chunks[0].since + self._max_age_s < now:
            self._let_go_of_oldest()

    def _let_go_of_oldest(self) -> None:
        self._bytes -= self._chunks[0].size
        del self._chunks[0]

    def find(self, prefix: bytes, publisher: int, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, bytes]]:
        """Return (number, part) of what is kept of these numbers, in order.

        prefix: the topic with its NUL
        cost:   0.5 us a chunk, and what is found; see `_Chunk.find`
        """
        found: list[tuple[int, bytes]] = []
        wanted = list(ranges)
        for chunk in self._chunks:
            numbers, parts = chunk.find(prefix, publisher)
            if numbers:
                for first, last in wanted:
                    at, end = bisect_left(numbers, first), bisect_right(numbers, last)
                    found += zip(numbers[at:end], parts[at:end], strict=True)
        return sorted(dict(found).items())  # what was interrupted may be in two chunks


def _head(part: bytes, at: int) -> tuple[int, int] | None:
    """Return publisher and number of a part that is a message; None of a tail, or of a value sent again to be held.

    at: where its body begins
    """
    body = memoryview(part)[at:]
    if len(body) <= _SMALL_BYTES:
        fields = unpackb(body)
        return None if len(fields) > 5 and not _OLD.isdisjoint(fields[5]) else (fields[1], fields[2])
    unpacker = Unpacker(max_buffer_size=len(body))
    unpacker.feed(body)
    count = unpacker.read_array_header()
    unpacker.skip()
    head = unpacker.unpack(), unpacker.unpack()
    if count > 5:
        unpacker.skip()
        unpacker.skip()
        if not _OLD.isdisjoint(unpacker.unpack()):
            return None
    return head

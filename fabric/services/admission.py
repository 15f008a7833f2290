"""What a server decides of a request that arrives: do it, answer as before, let it wait, or refuse it. Pure.

By its key a request is done once in each run of a server: one that comes again while it is being done waits for the
same answer, one that comes again later gets the answer that is kept. Answers are kept for `keep_s`, and bounded in
number and in bytes; the oldest go first. A key that comes with another operation or body is refused.

No client takes all the room: a quarter of what the others have left stays free for who comes next.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from fabric.errors import Busy, FabricError, NotAllowed, expected
from fabric.services.messages import Address, Request

MAX_IN_FLIGHT = 1_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_KEPT = 100_000
MAX_KEPT_BYTES = 64 * 1024 * 1024
KEEP_S = 120.0
MAX_ADDRESSES = 16
SHARE_LEFT = 4
"""One of so many places stays free for other clients, of those that others have not taken."""
RETRY_AFTER_S = (0.05, 5.0)
_OVERHEAD_BYTES = 500
"""Of one entry, beside its answer; measured, 450 to 500."""


@dataclass(frozen=True)
class Accept:
    """Hand it to the handler."""

    request: Request


@dataclass(frozen=True)
class Joined:
    """The same request is being done: its answer goes here too."""


@dataclass(frozen=True)
class Again:
    """It was done before; this was the answer."""

    payload: Any


@dataclass(frozen=True)
class Refused:
    error: FabricError


Verdict = Accept | Joined | Again | Refused


@dataclass
class _Entry:
    """A key: its request is in flight, or its answer is kept."""

    digest: bytes
    """Of operation and body."""
    client: str
    """Who asked first: where it wants to be answered."""
    addresses: list[Address] = field(default_factory=list)
    """Where the answer goes, at most `MAX_ADDRESSES`."""
    payload: Any = None
    done: bool = False
    """`payload` is the answer."""
    bytes: int = 0
    """What it counts for: its request, and, once it is done, its answer."""


class Admission:
    """The requests of one server.

    max_in_flight: requests that wait or are being done; beyond, Busy
    max_waiting_bytes: of these, packed; beyond, Busy, but for one that comes alone
    """

    def __init__(
        self,
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        max_kept: int = MAX_KEPT,
        max_kept_bytes: int = MAX_KEPT_BYTES,
        keep_s: float = KEEP_S,
    ) -> None:
        self._max_in_flight, self._max_kept, self._max_kept_bytes = max_in_flight, max_kept, max_kept_bytes
        self._keep_s, self._max_waiting_bytes = keep_s, max_waiting_bytes
        self._waiting_bytes = 0
        """Of the requests in flight."""
        self._entries: dict[str, _Entry] = {}
        """By key: `in_flight` that are not done, and those of `_kept`, which are."""
        self._kept: deque[tuple[float, str]] = deque()
        """(when to forget, key) of answers, oldest first; at most `_max_kept`."""
        self._kept_bytes = 0
        """Of these answers, with what each costs beside itself; at most `_max_kept_bytes`."""
        self._each_s = 0.001
        """How long a request takes the handler, averaged over about the last eight calls."""
        self.in_flight = 0
        """Requests accepted and not finished; at most `_max_in_flight`."""
        self._by_client: Counter[str] = Counter()
        """Of these, how many each client has; never 0."""
        self.closed = False
        """Set by the server: new requests are refused."""
        self.duplicates = 0
        """Requests that came again under their key, since the start."""
        self.busy = 0
        """Requests refused with Busy, since the start."""

    @property
    def kept(self) -> int:
        """Answers that are kept."""
        return len(self._kept)

    @property
    def load(self) -> float:
        """0 idle, 1 at the limit."""
        return round(self.in_flight / self._max_in_flight, 3)

    def admit(self, request: Request, digest: bytes, now: float, size_bytes: int = 0) -> Verdict:
        """Decide on a request. `digest` stands for its operation and body, `size_bytes` is their size."""
        self.expire(now)
        entry = self._entries.get(request.key)
        if entry is None:
            return self._admit_new(request, digest, size_bytes)
        if entry.digest != digest:
            return Refused(NotAllowed(expected("key", request.key, "a new one: it was used for another request")))
        self.duplicates += 1
        if entry.done:
            return Again(entry.payload)
        if request.address not in entry.addresses and len(entry.addresses) < MAX_ADDRESSES:
            entry.addresses.append(request.address)
        return Joined()

    def finish(self, key: str, payload: Any, size_bytes: int, now: float, *, keep: bool) -> list[Address]:
        """A request is over. Return where its answer goes.

        keep: whether to answer the same when it comes again; False: it is done again then
        """
        entry = self._entries[key]
        self.in_flight -= 1
        self._waiting_bytes -= entry.bytes
        self._by_client[entry.client] -= 1
        if not self._by_client[entry.client]:
            del self._by_client[entry.client]
        if keep:
            entry.payload, entry.done, entry.bytes = payload, True, size_bytes + _OVERHEAD_BYTES
            self._kept_bytes += entry.bytes
            self._kept.append((now + self._keep_s, key))
            while len(self._kept) > self._max_kept or self._kept_bytes > self._max_kept_bytes:
                self._forget_oldest()
        else:
            del self._entries[key]
        return entry.addresses

    def handler_took(self, count: int, elapsed_s: float) -> None:
        """The handler took so long for so many requests: what a busy server tells others to wait follows from it."""
        self._each_s += (elapsed_s / count - self._each_s) / 8

    def expire(self, now: float) -> None:
        """Forget the answers whose time is over."""
        while self._kept and self._kept[0][0] <= now:
            self._forget_oldest()

    def _admit_new(self, request: Request, digest: bytes, size_bytes: int) -> Verdict:
        client = request.address.reply_to
        own = self._by_client.get(client, 0)
        room = self._max_in_flight - (self.in_flight - own)
        is_heavy = self.in_flight > 0 and self._waiting_bytes + size_bytes > self._max_waiting_bytes
        if self.closed or is_heavy or own >= room - room // SHARE_LEFT:
            self.busy += 1
            least, most = RETRY_AFTER_S
            wait_s = min(max(self._each_s * self.in_flight / 2, least), most)
            what = f"{self.in_flight} requests are in flight, {own} of them from here, and no more are taken"
            what = f"{self._waiting_bytes:,} bytes of requests are in flight" if is_heavy else what
            what = "it is closing" if self.closed else what
            return Refused(Busy(f"{what}: try again in {wait_s:.2f} s", round(wait_s, 3)))
        self.in_flight += 1
        self._by_client[client] += 1
        self._waiting_bytes += size_bytes
        self._entries[request.key] = _Entry(digest, client, [request.address], bytes=size_bytes)
        return Accept(request)

    def _forget_oldest(self) -> None:
        entry = self._entries.pop(self._kept.popleft()[1])
        self._kept_bytes -= entry.bytes

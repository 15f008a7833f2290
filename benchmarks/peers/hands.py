"""What a process does with its client: subscribe, publish, ask and answer, hold filters, be a crowd. See `workers`."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.peers.clients import Client, client_class

QUIET_S = 2.0
"""A run in which nothing has arrived for so long is over, and what lacks is lost."""
PRIME_S, WARM_S = 0.1, 30.0
GIVEN_UP_S = 10.0
"""After so long without a message what is missing is not repaired any more."""
_NUMBERED = struct.Struct("<Q56x")
"""A message of 64 bytes that says which one it is."""
CONNECTS_AT_ONCE = 20


class Hands:
    """What a worker can do."""

    def __init__(self, peer: str) -> None:
        self._class = client_class(peer)
        self._client: Client | None = None
        self._crowd: list[Client] = []
        self._got = self._expected = 0
        self._last = 0.0
        self._heard: set[bytes] = set()
        self._warm, self._done = threading.Event(), threading.Event()
        self._times: list[float] = []
        self._arrived: list[tuple[int, int]] = []

    # ── fan-out ──────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, address: str, topic_filter: str, prime: str, warm: int, expected: int) -> None:
        """Subscribe, and to `prime` behind it: what comes there proves both. Then messages are counted.

        warm:     so many come before the clock starts
        expected: so many after that
        """
        self._got, self._expected = -warm, expected
        self._heard.clear()
        self._warm.clear()
        self._done.clear()
        if not warm:
            self._warm.set()
        self._client = self._class(address)
        self._client.subscribe(topic_filter, self._take)
        self._client.subscribe(prime, lambda payload: self._heard.add(payload[-1:]))  # raw: of a part, as it came
        self._client.wait_ready()

    def _take(self, payload: bytes) -> None:
        self._got += 1
        if self._got == self._expected:
            self._last = time.monotonic()
            self._done.set()
        elif self._got == 0:
            self._warm.set()

    def has_heard(self, publisher: int) -> bool:
        """Wait a little for what the publisher of this number sent to `prime`."""
        end = time.monotonic() + PRIME_S
        while (digit := b"%d" % publisher) not in self._heard and time.monotonic() < end:
            time.sleep(0.002)
        return digit in self._heard

    def is_warm(self) -> bool:
        return self._warm.wait(WARM_S)

    def result(self) -> tuple[float, int]:
        """Wait until all have come, or none any more; return when the last came, and how many."""
        before = -1
        while not self._done.wait(QUIET_S) and self._got != before:
            before, self._last = self._got, time.monotonic()
        return self._last, self._got

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def open_publisher(self, address: str) -> None:
        self._client = self._class(address, publishes=True)

    def prime(self, topics: Sequence[str], publisher: int) -> None:
        assert self._client is not None
        for topic in topics:
            self._client.publish(topic, b"%d" % publisher)
        self._client.flush()

    def warm(self, topics: Sequence[str]) -> None:
        """Publish to each topic once: what a client, a server and a subscriber do once for each is not measured."""
        assert self._client is not None
        self._client.prepare(topics)
        self._client.publish_all(topics, b"x" * 64, len(topics))

    def publish_all(self, topics: Sequence[str], payload_bytes: int, count: int, last: str) -> float:
        """Return when it began. last: a topic that is published to at the end, if any"""
        assert self._client is not None
        began = time.monotonic()
        self._client.publish_all(topics, b"x" * payload_bytes, count)
        if last:
            self._client.publish(last, b"x")
        return began

    # ── round trip ───────────────────────────────────────────────────────────────────────────────────────────────

    def echo(self, address: str) -> None:
        """Answer every ping, from the callback."""
        client = self._client = self._class(address)
        client.subscribe("trip/ping", lambda payload: client.publish("trip/pong", payload))
        client.wait_ready()

    def ping(self, address: str, payload_bytes: int) -> None:
        """Have each pong publish the next ping, from the callback; the first goes out until one comes back."""
        client = self._client = self._class(address)
        payload = b"x" * payload_bytes
        self._times, self._expected = [], 0
        self._done.clear()

        def take(_payload: bytes) -> None:
            now = time.perf_counter()
            self._times.append(now)
            if len(self._times) < self._expected:
                client.publish("trip/ping", payload)
            else:
                self._done.set()

        client.subscribe("trip/pong", take)
        client.wait_ready()
        while not self._done.wait(0.1):
            client.publish("trip/ping", payload)
        time.sleep(0.2)  # a second one that was sent because the first was slow must not be in the figures

    def trips(self, rounds: int, payload_bytes: int) -> list[float]:
        """Return the times of `rounds` round trips, in us."""
        assert self._client is not None
        self._done.clear()
        self._times, self._expected = [], rounds + 1
        self._client.publish("trip/ping", b"x" * payload_bytes)
        if not self._done.wait(60):
            raise TimeoutError(f"{len(self._times)} of {rounds} round trips within 60 s")
        return [(b - a) * 1e6 for a, b in zip(self._times, self._times[1:], strict=False)]

    # ── keeping ──────────────────────────────────────────────────────────────────────────────────────────────────

    def keep(self, topics: Sequence[str], payload_bytes: int, count: int) -> float:
        """Publish, and wait until all of it can be read from the store; return the seconds it took."""
        assert self._client is not None
        self._client.wait_kept()
        began = time.monotonic()
        self._client.publish_all(topics, b"x" * payload_bytes, count)
        self._client.wait_kept()
        return time.monotonic() - began

    def read_back(self, topic_filter: str) -> tuple[float, int]:
        """Return the seconds that reading everything took, and how many messages came."""
        assert self._client is not None
        began = time.monotonic()
        got = self._client.read_back(topic_filter)
        return time.monotonic() - began, got

    # ── repair ───────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(self, address: str, topic: str) -> None:
        """Subscribe, and note of every message which one it is, and when it came."""
        self._arrived = []
        arrived, unpack = self._arrived, _NUMBERED.unpack_from
        self._client = self._class(address)
        self._client.subscribe(topic, lambda payload: arrived.append((unpack(payload)[0], time.monotonic_ns())))
        self._client.wait_ready()

    def has_arrived(self, first: int) -> bool:
        """Wait a little for a message numbered from `first` on."""
        end = time.monotonic() + PRIME_S
        while not (found := any(number >= first for number, _ in list(self._arrived))) and time.monotonic() < end:
            time.sleep(0.002)
        return found

    def arrived(self, first: int, count: int) -> list[tuple[int, int]]:
        """Return numbers and times (monotonic, in ns) of what came, once all from `first` on have, or no more come."""
        before, quiet = -1, time.monotonic()
        while self._missing(first, count) and time.monotonic() < quiet + GIVEN_UP_S:
            if len(self._arrived) != before:
                before, quiet = len(self._arrived), time.monotonic()
            time.sleep(0.05)
        return list(self._arrived)

    def _missing(self, first: int, count: int) -> int:
        return count - len({number for number, _ in list(self._arrived) if number >= first})

    def pace(self, topic: str, start_ns: int, interval_ns: int, first: int, count: int) -> None:
        """Publish messages numbered from `first`, the k-th at start + k intervals, monotonic."""
        assert self._client is not None
        for k in range(count):
            due_ns = start_ns + k * interval_ns
            while (left_ns := due_ns - time.monotonic_ns()) > 0:
                time.sleep(left_ns / 1e9)
            self._client.publish(topic, _NUMBERED.pack(first + k))
        self._client.flush()

    # ── acks ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, address: str, first: int, count: int, budget_s: float) -> tuple[int, float]:
        """Hold filters `first` to `count` - 1, or as many as the budget allows; return how many, and what it took."""
        if self._client is None:
            self._client = self._class(address)
        began, held = time.monotonic(), first
        while held < count and time.monotonic() - began < budget_s:
            chunk = [f"held/{number:06}/x" for number in range(held, min(count, held + 1_000))]
            self._client.subscribe_all(chunk, _ignore)
            held += len(chunk)
        self._client.wait_ready()
        return held, time.monotonic() - began

    def acks(self, rounds: int, tag: str) -> list[float]:
        """Return the times from a new subscription to its ack, in us, one after the other."""
        assert self._client is not None
        times = []
        for number in range(rounds):
            began = time.perf_counter()
            self._client.subscribe(f"ack/{tag}/{number}", _ignore)
            self._client.wait_ready()
            times.append((time.perf_counter() - began) * 1e6)
        return times

    # ── crowds ───────────────────────────────────────────────────────────────────────────────────────────────────

    def crowd(self, address: str, first: int, count: int) -> float:
        """Connect `count` clients, each with a subscription that is ready; return when the last was (monotonic)."""

        def one(number: int) -> Client:
            client = self._class(address)
            client.subscribe(f"crowd/{number}/x", _ignore)
            client.wait_ready()
            return client

        with ThreadPoolExecutor(CONNECTS_AT_ONCE) as pool:
            self._crowd = list(pool.map(one, range(first, first + count)))
        return time.monotonic()

    def disperse(self) -> None:
        with ThreadPoolExecutor(CONNECTS_AT_ONCE) as pool:
            list(pool.map(lambda client: client.close(), self._crowd))
        self._crowd = []


def _ignore(payload: bytes) -> None:
    """Nothing is sent there."""

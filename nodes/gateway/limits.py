"""What one browser may cost a gateway: buckets of messages and bytes, and how often it may pass a limit. Pure.

allowance = Allowance(Limits(), now)
verdict = allowance.take(size_bytes, now)     # None: go on; else a Verdict: drop the message
"""

from __future__ import annotations

from dataclasses import dataclass

TELL_EVERY_S = 1.0
"""A browser over a limit is told so at most once in this time."""


@dataclass(frozen=True)
class Limits:
    """Of one socket.

    message_bytes:     a message; precedent: the 64 kB to 1 MB of MQTT brokers
    update_bytes:      a message `update`: a page's full snapshot is large
    hard_bytes:        beyond this the socket is closed unread
    rate, burst:       messages a second, and at once
    byte_rate, byte_burst: bytes a second, and at once
    strikes:           messages over a limit, or malformed, until the socket is closed; one is forgotten a second
    subscriptions:     of one page
    filter_bytes:      of the filters of all of them; each byte costs some hundred at every proxy
    queue_messages, queue_bytes: what waits for a slow browser before it is cut off
    hello_s:           the first message must come within this time
    """

    message_bytes: int = 256 * 1024
    update_bytes: int = 4 * 1024 * 1024
    hard_bytes: int = 8 * 1024 * 1024
    rate: float = 100.0
    burst: float = 200.0
    byte_rate: float = 1024 * 1024.0
    byte_burst: float = 8 * 1024 * 1024.0
    strikes: float = 100.0
    subscriptions: int = 100
    filter_bytes: int = 8 * 1024
    queue_messages: int = 1_000
    queue_bytes: int = 16 * 1024 * 1024
    hello_s: float = 10.0


class Bucket:
    """Tokens that come back at `rate` a second, at most `burst` of them."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        """What can be taken at `_at`: from 0 to `burst`."""
        self._at = now
        """The latest moment that was heard of. It never goes back, whatever the clock does."""

    def take(self, count: float, now: float) -> bool:
        """Take so many; False, and none is taken, when there are not enough."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        if count > self._tokens:
            return False
        self._tokens -= count
        return True


@dataclass(frozen=True)
class Verdict:
    """A message is dropped.

    what:   which limit: `rate`, `bytes`, `size`, `malformed`
    why:    in words
    tell:   whether the browser is to be told now
    close:  it has gone on for too long
    """

    what: str
    why: str
    tell: bool
    close: bool


class Allowance:
    """What is left to one socket. Its strikes are a bucket, too."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._messages = Bucket(limits.rate, limits.burst, now)
        self._bytes = Bucket(limits.byte_rate, limits.byte_burst, now)
        self._strikes = Bucket(1.0, limits.strikes, now)
        self._told_at: dict[str, float] = {}
        """When the browser was last told of each limit. It has at most one entry a limit."""

    def take(self, size_bytes: int, now: float, *, is_update: bool) -> Verdict | None:
        """Spend one message of this size, before it is decoded; None when that is allowed.

        is_update:  whether it begins as a page update does; any other kind is small
        """
        if not self._messages.take(1, now):
            return self.strike("rate", f"more than {self._limits.rate:g} messages a second", now)
        if not self._bytes.take(size_bytes, now):
            return self.strike("bytes", f"more than {self._limits.byte_rate:g} bytes a second", now)
        return self.check_size("update" if is_update else "", size_bytes, now)

    def check_size(self, kind: str, size_bytes: int, now: float) -> Verdict | None:
        """Judge the size of a message whose kind is known."""
        most = self._limits.update_bytes if kind == "update" else self._limits.message_bytes
        if size_bytes <= most:
            return None
        return self.strike("size", f"a message of {size_bytes} bytes: expected at most {most}", now)

    def strike(self, what: str, why: str, now: float) -> Verdict:
        """Count one message that is dropped."""
        close = not self._strikes.take(1, now)
        tell = close or now - self._told_at.get(what, float("-inf")) >= TELL_EVERY_S
        if tell:
            self._told_at[what] = now
        return Verdict(what, why, tell, close)

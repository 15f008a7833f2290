"""What the browsers of one host, and those of one network, may cost a gateway together. Pure.

    budgets = Budgets(Shares())
    budgets.wait_s("203.0.113.9", size_bytes, now)     # a message came: how long to wait before the next is read
    budgets.may_begin("203.0.113.9", now)              # a new session, which takes a contact code

Limits of one socket bound nobody who opens a hundred. Messages above a shared budget are not dropped but read later, so
that TCP holds the senders up: somebody else behind the same address is slowed, and loses nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from nodes.gateway.addresses import network_of
from nodes.gateway.limits import Bucket, Limits

NETWORK_TIMES = 2.0
"""So many times as much as a host has its network: a /24 or a /48."""
MAX_KEYS = 20_000
"""Hosts and networks that are remembered; of more, the one that was quiet for longest is forgotten."""


@dataclass(frozen=True)
class Shares:
    """Of one host.

    sockets:              so many times as much as one socket may send, in messages and in bytes
    new_rate, new_burst:  sessions that begin, a second and at once; each takes a contact code, which then rests
    back_rate, back_burst: sessions that come back with their token; all do after a restart
    """

    sockets: float = 10.0
    new_rate: float = 2.0
    new_burst: float = 100.0
    back_rate: float = 50.0
    back_burst: float = 1_000.0

    @classmethod
    def of(cls, new_rate: float) -> Shares:
        """Return shares in which so many sessions may begin a second, and the rest is in proportion."""
        default = cls()
        times = new_rate / default.new_rate
        rates = (default.new_rate, default.new_burst, default.back_rate, default.back_burst)
        return cls(default.sockets, *(times * each for each in rates))


class Debt:
    """A bucket that may be overdrawn: who takes from it is told how long to wait until that is made good."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens = burst
        """What can be taken at `_at`, at most `burst`; below 0 it is owed."""
        self._at = now
        """The latest moment that was heard of. It never goes back."""

    def take(self, count: float, now: float) -> float:
        """Take so many; return how many seconds it takes until nothing is owed."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate) - count
        self._at = max(self._at, now)
        return max(0.0, -self._tokens / self._rate)

    def give_back(self, count: float) -> None:
        self._tokens += count


class _Budget:
    """Of one host or network. `times`: of a host's share."""

    def __init__(self, limits: Limits, shares: Shares, times: float, now: float) -> None:
        many = shares.sockets * times
        self.messages = Debt(many * limits.rate, many * limits.burst, now)
        self.bytes = Debt(many * limits.byte_rate, many * limits.byte_burst, now)
        self.new = Bucket(times * shares.new_rate, times * shares.new_burst, now)
        self.back = Bucket(times * shares.back_rate, times * shares.back_burst, now)


class Budgets:
    """Of all hosts. `limits`: of one socket."""

    def __init__(self, limits: Limits, shares: Shares, max_keys: int = MAX_KEYS) -> None:
        self._limits, self._shares, self._max_keys = limits, shares, max_keys
        self._known: OrderedDict[str, _Budget] = OrderedDict()
        """By host and by network; the one that was used last stands last. At most `max_keys`."""

    def __len__(self) -> int:
        return len(self._known)

    def wait_s(self, host: str, size_bytes: int, now: float, most_s: float = float("inf")) -> float:
        """Spend a message of this size; return how long its sender is to wait. Above `most_s` nothing is spent."""
        both = self._of(host, now)
        waits = [wait for each in both for wait in (each.messages.take(1, now), each.bytes.take(size_bytes, now))]
        if max(waits) > most_s:
            for each in both:
                each.messages.give_back(1)
                each.bytes.give_back(size_bytes)
        return max(waits)

    def may_begin(self, host: str, now: float) -> bool:
        """Take what a new session needs; False when there is no more of it now."""
        of_host, of_network = self._of(host, now)
        return of_host.new.take(1, now) and of_network.new.take(1, now)

    def may_come_back(self, host: str, now: float) -> bool:
        """Take what a session needs that comes back; False when there is no more of it now."""
        of_host, of_network = self._of(host, now)
        return of_host.back.take(1, now) and of_network.back.take(1, now)

    def _of(self, host: str, now: float) -> tuple[_Budget, _Budget]:
        network = network_of(host)
        return self._find(f"host {host}", 1.0, now), self._find(f"network {network}", NETWORK_TIMES, now)

    def _find(self, key: str, times: float, now: float) -> _Budget:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _Budget(self._limits, self._shares, times, now)
            while len(self._known) > self._max_keys:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return found

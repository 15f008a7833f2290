"""How often a wrong password may be tried, for one agent and from one address. Pure.

Failures are forgotten after `window_s`; a key that has `most` of them is locked out until the oldest is forgotten.
Bounded: of more than `max_keys` the one that was quiet for longest is dropped.
"""

from __future__ import annotations

from collections import OrderedDict, deque

MAX_KEYS = 10_000


class LockOut:
    """Failures by key: an agent, an address, or both.

    most:      failures from which on a key is locked out
    window_s:  after which a failure is forgotten
    max_keys:  that are remembered
    """

    def __init__(self, most: int, window_s: float, max_keys: int = MAX_KEYS) -> None:
        self._most, self._window_s, self._max_keys = most, window_s, max_keys
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        """When the last `most` failures of each key were; the key that failed last stands last."""

    def locked_s(self, key: str, now: float) -> float:
        """Return how long this key is locked out from now; 0 when it is not."""
        failures = self._failures.get(key)
        if failures is None or len(failures) < self._most:
            return 0.0
        return max(0.0, failures[0] + self._window_s - now)

    def failed(self, key: str, now: float) -> None:
        """Count one failure."""
        failures = self._failures.setdefault(key, deque(maxlen=self._most))
        failures.append(now)
        self._failures.move_to_end(key)
        while len(self._failures) > self._max_keys:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget its failures."""
        self._failures.pop(key, None)

"""Which rate to try next: doubled until one does not hold, then the geometric mean of the two. Pure.

search = Search(1_000)
while (rate := search.rate) is not None:
    search.tell(measure(rate))
search.best                                    # the highest rate that held, None when none did
"""

from __future__ import annotations

FACTOR = 2.0
PRECISION = 1.1
"""The search ends when the lowest rate that did not hold is less than so many times the highest that did."""
LOWEST = 1.0
MAX_ROUNDS = 30


class Search:
    """first: the rate to begin with, in messages a second. When it does not hold, lower ones are tried."""

    def __init__(self, first: float, precision: float = PRECISION) -> None:
        self.rate: float | None = first
        """The rate to try now; None at the end. `tell` sets it."""
        self.best: float | None = None
        """The highest rate that held so far; always below `_fell`."""
        self._fell: float | None = None
        """The lowest rate that did not hold so far."""
        self._precision = precision
        self._rounds = 0
        """Rates tried, at most MAX_ROUNDS."""

    def tell(self, held: bool) -> None:
        """Take whether `rate` held, and choose the next one."""
        assert self.rate is not None
        self._rounds += 1
        if held:
            self.best = self.rate
        else:
            self._fell = self.rate
        self.rate = self._next() if self._rounds < MAX_ROUNDS else None

    def _next(self) -> float | None:
        if self._fell is None:
            assert self.best is not None
            return self.best * FACTOR
        if self.best is None:
            lower = self._fell / FACTOR
            return lower if lower >= LOWEST else None
        if self._fell / self.best < self._precision:
            return None
        return float((self._fell * self.best) ** 0.5)

"""When to try again: capped exponential back-off with full jitter.

Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015: a delay drawn evenly from 0 to
min(cap, base * 2**attempt) spreads a crowd best. The draw is an argument, so a test knows every delay.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often to try, and how long to wait in between.

    base_s:             widest first delay, default 0.5
    cap_s:              widest delay of all, default 20 (gRPC's default cap is 120, too long for a visitor who waits)
    attempts:           how often to try in all, default 8: about a minute of waiting
    max_retry_after_s:  longest wait that a peer may ask for, default 60: bad input must not silence a page for ever
    """

    base_s: float = 0.5
    cap_s: float = 20.0
    attempts: int = 8
    max_retry_after_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 < self.base_s <= self.cap_s) or self.attempts < 1 or self.max_retry_after_s < 0:
            wanted = "0 < base_s <= cap_s, attempts >= 1 and max_retry_after_s >= 0"
            raise ValueError(f"invalid {self}: expected {wanted}")

    def delay_s(self, attempt: int, drawn: float, retry_after_s: float = 0.0) -> float | None:
        """Return the seconds to wait after the failed `attempt`, or None when that was the last one.

        attempt:        1 for the first
        drawn:          even in [0, 1)
        retry_after_s:  from a Busy answer; a lower bound. The jitter comes on top of it: as a plain maximum it would
                        bring everyone back in the same moment
        """
        if attempt >= self.attempts:
            return None
        widest = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 60))
        # `max` and `min` in this order also turn a NaN into 0.
        asked = min(max(0.0, retry_after_s), self.max_retry_after_s)
        return asked + drawn * widest

"""The move of a node from a proxy that drains to another one, while both live.

| state | what happens | state then |
|---|---|---|
| covering | the new proxy covers every subscription: one marker more goes through the old one | flushing |
| flushing | that marker came back, or its time is over: all that was to come by the old one is here | flushed |

The node reads from both meanwhile; what comes twice is dropped by its number. Once it is flushed the engine lets the
old proxy go. An answer that comes in another state changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fabric.node import coverage
from fabric.node.coverage import Coverage
from fabric.node.downlink import Downlink
from fabric.protocol.markers import Answer

TRANSITIONS = {
    ("covering", "covered"): "flushing",
    ("flushing", "came_back"): "flushed",
}
"""The same without what happens."""
COVER_TIMEOUT_S = 60.0
"""`Connection` gives the move up long before."""
FLUSH_TIMEOUT_S = 0.5


class Handover:
    """One move. Only for the I/O thread.

    old, link: the connections to the old proxy and to the new one, to which this sends markers
    prefixes:  all that is held
    """

    def __init__(
        self,
        base: str,
        old: Downlink,
        link: Downlink,
        prefixes: Iterable[bytes],
        random_bytes: Callable[[int], bytes],
        now: float,
    ) -> None:
        self.state = "covering"
        """`covering`, `flushing` or `flushed`; see the table above."""
        self.link = link
        """From the new proxy. The engine's own once this is flushed."""
        self._old, self._random_bytes = old, random_bytes
        self._coverage = Coverage(random_bytes, ack_timeout_s=COVER_TIMEOUT_S)
        """What the subscriptions reach over `link`."""
        self._flush: Coverage | None = None
        """The last marker through the old proxy; there from `flushing` on."""
        link.change(prefixes, ())
        link.attach(base)
        self._ask(self._coverage, now)

    def answered(self, answer: Answer, *, by_new: bool, now: float) -> None:
        """A marker was answered: one that went through the new connection, or one through the old."""
        tracker = self._coverage if by_new else self._flush
        if tracker is not None:
            self._perform(tracker, tracker.marker_answered(answer.nonce, answer.leg, answer.view, now), now)

    def tick(self, now: float) -> None:
        """Repeat what was not answered; notice whose time is over."""
        for tracker in (self._coverage, self._flush):
            if tracker is not None:
                self._perform(tracker, tracker.tick(now), now)

    def abandon(self) -> None:
        """The move has failed, or its old proxy is gone."""
        self.link.close()

    def _ask(self, tracker: Coverage, now: float) -> None:
        self._perform(tracker, tracker.prefixes_sent(now), now)
        self._perform(tracker, tracker.ack_wanted(0, tracker.generation, now), now)

    def _perform(self, tracker: Coverage, effects: Iterable[coverage.Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case coverage.SendMarker(nonce):
                    (self.link if tracker is self._coverage else self._old).mark(nonce)
                case coverage.Acked(_, ack):
                    if tracker is self._flush:
                        self.state = TRANSITIONS[self.state, "came_back"]
                    elif ack.ok and self.state == "covering":
                        self.state = TRANSITIONS[self.state, "covered"]
                        self._flush = Coverage(self._random_bytes, ack_timeout_s=FLUSH_TIMEOUT_S)
                        self._ask(self._flush, now)

"""Repair of losses in one node, both halves: it asks for what it lost, and answers for what it published.

`repair` decides what is asked, `answering` what is answered; this sends it, and takes what comes. Only for the I/O
thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from fabric.errors import RemoteWireError
from fabric.node.answering import Answerer, Repeat
from fabric.node.gaps import REASONS, TOO_OLD
from fabric.node.receiver import Receiver
from fabric.node.repair import Ask, Asker, GiveUp
from fabric.node.ring import Ring
from fabric.node.uplink import Uplink
from fabric.protocol import repair
from fabric.protocol.markers import repair_topic
from fabric.protocol.repair import MAX_ASKED, Ranges
from fabric.wire import decode_body

PROBES_PER_TICK = 50
PROBE_S = 60.0
"""For so long a probe waits to be sent, and then for its answer: publishers keep what they sent no longer."""
MAX_PROBES = 100_000
_ANSWER_ROOM = 1024
"""Bytes of an answer beside its parts."""
HASTY = 4
"""So many asks, and so many answers, are sent between two ticks as soon as it is possible. What comes beyond that has
its turn with the tick, all together."""
_ROOM = 2 * 65_536
"""Bytes that an answer may have beyond the largest payload: a topic, twice, and what surrounds the parts."""


class Probe(NamedTuple):
    """Whether a publisher has anything above what is known here: asked once, and never told as lost by itself."""

    topic: str
    publisher: int
    first: int
    until: float

    @property
    def ranges(self) -> Ranges:
        """What is asked for."""
        return ((self.first, self.first + MAX_ASKED - 1),)


class Repairer:
    """What one node does about losses. It changes what `receiver` calls.

    token:             the node's
    ring:              of `uplink`
    hold:              holds a filter for this node itself
    is_empty:          whether nothing waits to be read
    timeout_s:         how long a loss waits to be repaired; 0: nothing is asked for
    max_payload_bytes: of what is sent and taken
    """

    def __init__(
        self,
        token: str,
        receiver: Receiver,
        uplink: Uplink,
        ring: Ring,
        hold: Callable[[str], None],
        is_empty: Callable[[], bool],
        *,
        timeout_s: float,
        max_payload_bytes: int,
    ) -> None:
        self._token, self._receiver, self._uplink, self._ring = token, receiver, uplink, ring
        self._hold, self._is_empty = hold, is_empty
        self._max_payload_bytes = max_payload_bytes
        self._asker = Asker(receiver.detector.holes, timeout_s)
        """What is asked for."""
        self._answerer = Answerer(self._find, self._last, max_payload_bytes - _ANSWER_ROOM)
        """What is answered."""
        self._publishers: list[int] = []
        """Ids under which this node has published: it holds the prefix of each. Only ever longer."""
        self._probes: deque[Probe] = deque()
        """To be sent, at most `MAX_PROBES`, once somebody here wants their topics."""
        self._probed: dict[int, Probe] = {}
        """By id: those sent, the oldest first. Ids are below 0: those of the asker are above."""
        self._hasty = HASTY
        """What is left of that, since the last tick."""
        self._last_probe = 0
        """Probes that were sent."""
        self.answered = self.repeated = 0
        """Parts sent to who asked, and on their topic once more, since the start."""
        self.refused = 0
        """Asks and answers that could not be read, or that nobody asked for."""
        if timeout_s:
            receiver.on_missing, receiver.is_repaired = self._noticed, self._asker.waits_for

    @property
    def is_waiting(self) -> bool:
        """Whether time has anything to do here."""
        return self._asker.wants or self._answerer.waits or bool(self._probes)

    @property
    def asked(self) -> int:
        """Asks sent since the start."""
        return self._asker.asked

    def probe(self, topic: str, publisher: int, first: int, now: float) -> None:
        """Ask the publisher whether it has anything from this number on, as soon as the topic is wanted here."""
        if len(self._probes) < MAX_PROBES:
            self._probes.append(Probe(topic, publisher, first, now + PROBE_S))

    def heard(self, raw: bytes, body: bytes, now: float) -> None:
        """Something came that is for repair: by its topic an ask, or an answer."""
        try:
            publisher, _, _, payload, _ = decode_body(body, self._max_payload_bytes + _ROOM)
        except RemoteWireError as error:
            self._receiver.refuse(error)
            return
        if raw.startswith(repair.RAW_REPAIR):
            ask = repair.read_ask(raw, payload)
            if ask is None:
                self.refused += 1
            elif ask.publisher in self._publishers:  # a coarser prefix brings those to others, too
                self._answerer.asked(ask)
                if self._hasty > 0:
                    self._hasty -= 1
                    self._answer(now)
            return
        answer = repair.read_answer(payload)
        if answer is not None and answer.ident in self._probed:
            self._probe_answered(answer, publisher, now)
            return
        asked = () if answer is None else self._asker.asked_for(answer.ident, answer.topic, publisher)
        if answer is None or not asked:
            self.refused += 1
            return
        for part in answer.parts:
            if not self._receiver.take_repaired(answer.topic, publisher, part, now):
                self.refused += 1
        for first, last, why in repair.missing_of(answer, asked):
            self._receiver.give_up(answer.topic, publisher, why if why in REASONS else TOO_OLD, first, last)
        if self._asker.asked_for(answer.ident, answer.topic, publisher):
            self._asker.answered(answer.ident, now, done=answer.done)

    def tick(self, now: float, *, is_empty: bool) -> None:
        """Ask, answer, give up. is_empty: nothing waits to be read"""
        self._hasty = HASTY
        if self._uplink.published and self._uplink.publisher not in self._publishers and self._ring.is_kept:
            self._publishers.append(self._uplink.publisher)
            self._hold(repair.asks_filter(self._uplink.publisher))
        if self._asker.wants:
            self._uplink.want()
            effects = self._asker.tick(now, is_empty=is_empty, is_open=self._uplink.is_open)
            for effect in effects:
                if isinstance(effect, GiveUp):
                    self._receiver.give_up(effect.topic, effect.publisher, effect.reason)
            self._ask([effect for effect in effects if isinstance(effect, Ask)])
        if self._probes and is_empty:
            self._send_probes(now)
        if self._answerer.waits:
            self._answer(now)

    def _send_probes(self, now: float) -> None:
        self._uplink.want()
        if not self._uplink.is_open:
            return
        asks = []
        for _ in range(min(PROBES_PER_TICK, len(self._probes))):
            probe = self._probes.popleft()
            if self._receiver.wants(probe.topic):
                ident = -1 - self._last_probe
                self._last_probe += 1
                self._probed[ident] = probe
                asks.append(Ask(probe.topic, probe.publisher, ident, probe.ranges))
            elif probe.until > now:
                self._probes.append(probe)
        while len(self._probed) > MAX_PROBES:
            del self._probed[next(iter(self._probed))]
        self._ask(asks)

    def _probe_answered(self, answer: repair.Answer, publisher: int, now: float) -> None:
        probe = self._probed[answer.ident]
        if (answer.topic, publisher) != probe[:2] or probe.until + PROBE_S < now:
            self.refused += 1
            return
        for part in answer.parts:
            self._receiver.take_repaired(answer.topic, publisher, part, now, may_be_new=True)
        # What is missing was sent, and is lost: it is asked for, and told, as anything else.
        for _, last, _ in repair.missing_of(answer, probe.ranges):
            self._receiver.take_tail(answer.topic, publisher, last, now)
        if answer.done:
            del self._probed[answer.ident]
            known = self._receiver.detector.lasts(answer.topic).get(publisher, 0)
            if known >= probe.ranges[-1][1]:
                self.probe(answer.topic, publisher, known + 1, now)

    def _noticed(self, topic: str, publisher: int, head: int, now: float, wait_s: float) -> None:
        self._asker.noticed(topic, publisher, head, now, wait_s)
        if self._hasty > 0 and self._uplink.is_open and self._is_empty():
            asks = self._asker.ask_now(topic, publisher, now)
            self._hasty -= len(asks)
            self._ask([each for each in asks if isinstance(each, Ask)])

    def _ask(self, asks: list[Ask]) -> None:
        """What cannot be sent now is asked again by the asker."""
        if not asks:
            return
        with self._uplink.beside() as is_held:
            for ask in asks:
                topic = repair.ask_topic(ask.publisher, self._token, ask.topic)
                if is_held and topic is not None:
                    self._uplink.say_beside(topic, repair.ask_payload(ask.ident, ask.ranges))

    def _answer(self, now: float) -> None:
        """What there is no room for is dropped: who asks does so again."""
        with self._uplink.beside() as is_held:
            if not is_held:
                return
            for effect in self._answerer.turn(now, self._ring.added_bytes):
                if isinstance(effect, Repeat):
                    if not self._uplink.send_beside(effect.part):
                        return
                    self.repeated += 1
                else:
                    payload = repair.answer_payload(effect.answer)
                    if not self._uplink.say_beside(repair_topic(effect.token), payload, effect.publisher):
                        return
                    self.answered += len(effect.answer.parts)

    def _find(self, topic: str, publisher: int, ranges: Ranges) -> list[tuple[int, bytes]]:
        return self._ring.find(topic.encode() + b"\0", publisher, ranges)

    def _last(self, topic: str, publisher: int) -> int:
        """Of an id that this node had before, every number that is not kept is too old."""
        return self._uplink.last(topic.encode() + b"\0") if publisher == self._uplink.publisher else repair.MAX_NUMBER

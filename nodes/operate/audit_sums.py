"""Which lines an audit stream gets: the first of each kind at once, then sums, bounded whatever is heard. Pure.

A *kind* is an event with who, door and the beginning of the topic. The first of a kind is a line; what follows is
counted, and told as one line each SUM_S. Kinds are bounded, all together and of each who, and so are lines, of each
event: what finds no room is counted under OTHERS. Nothing is lost from the counts: over all lines they add up to what
was noted.

source: of the idea, Linux's `printk_ratelimited` and journald's rate limits, which say how much they left out
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FIELDS = ("event", "who", "from", "door", "topic", "filter", "why")
"""What a line has besides `at` and `count`, in this order. Anything else is left out, so that no secret gets in."""
MAX_CHARS = 200
"""Of each field; the rest is cut, and … stands for it."""
MAX_KINDS = 10_000
"""Of all events together; 25 MB with the longest fields."""
MAX_KINDS_OF_WHO = 1_000
"""So that one who tries many topics does not push out the others."""
KINDS_OF_EVENT = 100
"""So many an event may have though all others together have reached MAX_KINDS."""
MAX_EVENTS = 64
"""Names of events; they come from programs, not from peers. Beyond, an event is called `other`."""
SUM_S = 10.0
LINES_S = 2.0
"""Lines a second of one event, in the long run: with 300 bytes each, 50 MB a day. Sums of OTHERS come besides."""
BURST_LINES = 100.0
FORGET_S = 600.0
"""A kind that was not heard for so long is new again."""
OTHERS = "(others)"
"""Stands as `who` for kinds that found no room. No identity has brackets in its name."""

Line = dict[str, Any]
Kind = tuple[str, str, str, str]


@dataclass
class _Heard:
    """What was heard of one kind.

    newest:   fields of the newest note
    pending:  how many were noted since its last line
    is_mixed: whether these had different topics
    heard_at: when it was last noted, monotonic
    """

    newest: Line
    pending: int
    is_mixed: bool
    heard_at: float


@dataclass
class _Budget:
    """Lines that an event may still have. left: at most BURST_LINES; since: when that was true, monotonic"""

    left: float
    since: float

    def take(self, now: float) -> bool:
        self.left = min(BURST_LINES, self.left + (now - self.since) * LINES_S)
        self.since = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Sums:
    """The state of one stream. Times are monotonic, in seconds; the caller adds `at` to the lines."""

    def __init__(self, now: float) -> None:
        self.due_at = now + SUM_S
        """When `due` has the next sums."""
        self._heard: dict[Kind, _Heard] = {}
        """At most MAX_KINDS, and KINDS_OF_EVENT more of each event."""
        self._of_who: Counter[str] = Counter()
        """How many kinds of `_heard` each who has; no zeros."""
        self._of_event: Counter[str] = Counter()
        """How many kinds of `_heard` each event has; no zeros."""
        self._budgets: dict[str, _Budget] = {}
        """Of each event ever noted; at most MAX_EVENTS + 1."""
        self._others: Counter[str] = Counter()
        """By event, what found no room and was not told yet."""

    def note(self, fields: Mapping[str, object], now: float) -> list[Line]:
        """Take what happened; return the line to be written at once, if it is the first of its kind.

        fields: FIELDS, of which `event` has to be there; `count` for something that happened several times
        """
        line, count = cleaned(fields), count_of(fields)
        budget = self._budget_of(line, now)
        kind, is_new = self._place(_kind(line))
        if kind is None:
            self._others[line["event"]] += count
            return []
        if is_new:
            self._heard[kind] = heard = _Heard(line, 0, False, now)
            if budget.take(now):
                return [{**line, "count": count}]
        else:
            heard = self._heard[kind]
        heard.is_mixed |= heard.pending > 0 and _topic(heard.newest) != _topic(line)
        heard.newest, heard.heard_at = line, now
        heard.pending += count
        return []

    def crowd(self, event: str, count: int, now: float) -> None:
        """Count what happened under OTHERS: nobody had the time to look at it."""
        line = cleaned({"event": event})
        self._budget_of(line, now)
        self._others[line["event"]] += count

    def due(self, now: float) -> list[Line]:
        """Return the sums of what was heard since the last ones, when they are due; nothing before that."""
        if now < self.due_at:
            return []
        self.due_at = now + SUM_S
        return self.sums(now)

    def sums(self, now: float) -> list[Line]:
        """Return the sums of what was heard since the last ones, the largest first, and OTHERS at the end."""
        lines = []
        for kind, heard in sorted(self._heard.items(), key=lambda each: -each[1].pending):
            if not heard.pending:
                break
            if self._budgets[kind[0]].take(now):
                lines.append({**_summed(kind, heard), "count": heard.pending})
            else:
                self._others[kind[0]] += heard.pending
            heard.pending, heard.is_mixed = 0, False
        lines += [{"event": event, "who": OTHERS, "count": count} for event, count in sorted(self._others.items())]
        self._others.clear()
        self._forget(now)
        return lines

    def _budget_of(self, line: Line, now: float) -> _Budget:
        if line["event"] not in self._budgets and len(self._budgets) >= MAX_EVENTS:
            line["event"] = "other"
        return self._budgets.setdefault(line["event"], _Budget(BURST_LINES, now))

    def _place(self, kind: Kind) -> tuple[Kind | None, bool]:
        """Return the kind under which something is counted, None for OTHERS, and whether it is a new one."""
        event, who, door, _ = kind
        if kind not in self._heard and self._of_who[who] >= MAX_KINDS_OF_WHO:
            kind = (event, who, door, "")  # whatever the topic
        if kind in self._heard:
            return kind, False
        if len(self._heard) >= MAX_KINDS and self._of_event[event] >= KINDS_OF_EVENT:
            return None, False
        self._of_who[who] += 1
        self._of_event[event] += 1
        return kind, True

    def _forget(self, now: float) -> None:
        """Make room: kinds that were not heard for long, and where there is no room left, for one round."""
        silent_s = SUM_S if len(self._heard) >= MAX_KINDS else FORGET_S
        for kind in [kind for kind, heard in self._heard.items() if now - heard.heard_at > silent_s]:
            del self._heard[kind]
            for counter, key in ((self._of_event, kind[0]), (self._of_who, kind[1])):
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]


def cleaned(fields: Mapping[str, object]) -> Line:
    """Return the FIELDS that are given and not empty, as texts of at most MAX_CHARS; `event` always."""
    return dict(_texts(fields))


def _texts(fields: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name in FIELDS:
        value = fields.get(name)
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
        if len(text) > MAX_CHARS:
            text = f"{text[: MAX_CHARS - 1]}…"
        if text or name == "event":
            yield name, text or "other"


def count_of(fields: Mapping[str, object]) -> int:
    """Return how often it happened, at least once."""
    count = fields.get("count", 1)
    return count if isinstance(count, int) and count > 0 else 1


def _topic(line: Line) -> str:
    return str(line.get("topic", line.get("filter", "")))


def _kind(line: Line) -> Kind:
    return line["event"], line.get("who", ""), line.get("door", ""), _beginning(_topic(line))


def _beginning(topic: str) -> str:
    """Return its first level; two where the first is one of the fabric's or of a page, which says little by itself."""
    return "/".join(topic.split("/")[: 2 if topic[:1] in ("$", "~") else 1])


def _summed(kind: Kind, heard: _Heard) -> Line:
    """Return the newest of a kind, with the topics that it stands for."""
    if not heard.is_mixed:
        return heard.newest
    name = "topic" if "topic" in heard.newest else "filter"
    return {**heard.newest, name: f"{kind[3]}/#" if kind[3] else "#"}

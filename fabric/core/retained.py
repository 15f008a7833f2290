"""What a proxy keeps of retained messages, the last value of each topic. The plain twin, and the specification.

A publisher's part is one when the last key of its headers is `retain`, with a uint32: `TAIL` and four bytes, seconds
until the value runs out, 0 for never. A payload of nil clears. Of two values the one with the larger *stamp* is newer:
`(sent_ns, publisher)`. What is cleared or has run out leaves a *tombstone*, which has a stamp, too: so nothing older
takes its place, for `TOMBSTONE_S`, by elapsed time.

    what there is | a value          | a clear             | a claim, newer | a claim, older | its time is over
    nothing       | value, claimed   | tombstone, claimed  | nothing        | nothing        |
    value         | value            | tombstone           | nothing        | claimed        | tombstone
    tombstone     | value, claimed   | tombstone, claimed  | nothing        | claimed        | nothing

What is not newer than what there is changes nothing. A value over a bound becomes a tombstone: an older one must not
pass for the last. A stamp that is further ahead of this proxy's wall clock than `AHEAD_NS` changes nothing either,
wherever it comes from: nothing could take its place until then.

Each value is held by one proxy. One that takes a topic which it did not hold *claims* it, and a proxy that hears of a
newer one forgets its own: otherwise the older would come back when the newer runs out. Where two hold the same (it was
handed over, or held again elsewhere), both know that it is *shared*, and the next value is claimed again. Who was
handed all values says so with a list of no claims, at the address that stands in their batches as the nonce.

Values are bytes here, not messages of libzmq: a received one is a piece of a buffer of 8 KiB, which lives as long as
one of its pieces.

What others are told are whole parts, which the switch sends: batches of values, claims, notices to publishers. Their
envelope is `[1, 0, 1, 0, payload]`, and each length in it has a fixed size, so that compiled code can read it in place.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

MAX_TOPICS = 100_000
"""Values that a proxy keeps; and as many tombstones."""
MAX_BYTES = 64 * 1024 * 1024
"""Of the parts that it keeps, with `EACH_BYTES` for each; and as many of tombstones."""
EACH_BYTES = 256
"""What one costs beside its part."""
AHEAD_NS = 60 * 10**9
"""So far a publisher's clock may be ahead of this proxy's."""
TOMBSTONE_S = 180
"""Longer than clocks differ, and than a publisher's node takes to find another proxy."""
BATCH_BYTES = 64 * 1024
"""Of the parts in one batch, unless there is one part alone."""
MOST_IN_BATCH = 10_000
TAIL = b"\xa6retain\xce"
"""What stands before the last four bytes of a retained part."""
TAIL_BYTES = len(TAIL) + 4
SWEPT_AT_A_TAKE = 4
VERDICTS = ("malformed", "kept", "repeated", "older", "topics", "bytes", "clock")
"""What became of a part. `malformed`: it only looks like a retained one; `repeated`: it is there; `older`: a newer one
is; `topics`, `bytes`: it was over that bound; `clock`: its stamp is too far ahead, or that of a claim."""
SHARED = b"$fabric/retained\0"
"""Where claims go to all proxies."""
_SECOND_US = 1_000_000
_ENVELOPE = b"\x95\x01\x00\x01\x00"
_SIZES = {0xC4: 1, 0xD9: 1, 0xC5: 2, 0xDA: 2, 0xC6: 4, 0xDB: 4}
"""Heads of strings and bins, and the bytes of the length behind them."""
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCC: 1, 0xD0: 1, 0xCD: 2, 0xD1: 2, 0xCA: 4, 0xCE: 4, 0xD2: 4}
_FIXED |= {0xCB: 8, 0xCF: 8, 0xD3: 8}
_COUNTS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Heads of arrays and maps: bytes of the count behind them, and values for each."""

Stamp = tuple[int, int]
"""sent_ns and publisher: the larger is newer."""
_Due = tuple[float, bytes]


def address_of(incarnation: str) -> bytes:
    """Return the topic, with its NUL, on which a proxy is told claims and handed values."""
    return f"{SHARED[:-1].decode()}/{incarnation}\0".encode()


def looks_retained(part: bytes) -> bool:
    """Whether a part ends like a retained one: the table looks at no other."""
    return part.startswith(TAIL, len(part) - TAIL_BYTES)


class Tour:
    """One way through a table, in batches. What is set behind its place while it is under way is given as well.

    topic:      of the batches, with its NUL
    nonce:      stands in each batch, at most 255 bytes
    prefixes:   what is wanted, as on the wire. The empty one brings no topics that begin with `$` or `~`
    everything: also those
    """

    def __init__(self, topic: bytes, nonce: bytes, prefixes: Iterable[bytes], *, everything: bool = False) -> None:
        self.topic, self.nonce, self.everything = topic, nonce, everything
        self.prefixes: list[bytes] = []
        """Sorted; none begins with another."""
        for each in sorted(prefixes):
            if not self.prefixes or not each.startswith(self.prefixes[-1]):
                self.prefixes.append(each)
        self.cursor: bytes | None = None
        """Key of the last one given. Changed by the table."""
        self.index = 0
        """Of the next batch. Changed by the table."""


class _Fields(NamedTuple):
    """What the table has to know of a part."""

    key: bytes
    head: bytes
    stamp: Stamp
    expires_s: int
    clears: bool

    def tombstone(self) -> bytes:
        return self.key + b"\x96\x01" + self.head + b"\xc0\x81" + TAIL + bytes(4)


@dataclass
class _Entry:
    part: bytes
    stamp: Stamp
    taken_us: int
    """When it was set, cleared, or ran out."""
    deadline_us: float
    """When it runs out, or is forgotten; inf: never."""
    dead: bool
    """A tombstone."""
    shared: bool = False
    """Another proxy holds the same one."""

    @property
    def cost(self) -> int:
        return len(self.part) + EACH_BYTES


@dataclass
class _Sums:
    count: int = 0
    cost: int = 0


@dataclass
class Table:
    """The retained values of one proxy. For one thread at a time.

    max_topics: values at most; and as many tombstones, of which the oldest go first
    max_bytes:  of their parts, with `EACH_BYTES` for each; and as many of tombstones
    """

    max_topics: int = MAX_TOPICS
    max_bytes: int = MAX_BYTES
    _entries: dict[bytes, _Entry] = field(default_factory=dict)
    """By key: the topic and its NUL."""
    _keys: list[bytes] = field(default_factory=list)
    """The same keys, sorted."""
    _sums: tuple[_Sums, _Sums] = field(default_factory=lambda: (_Sums(), _Sums()))
    """Of values, and of tombstones."""
    _due: tuple[list[_Due], list[_Due]] = field(default_factory=lambda: ([], []))
    """Values that run out, and tombstones: when, and their keys; sorted."""
    _claims: list[bytes] = field(default_factory=list)
    """To be told to the other proxies."""
    _notices: list[bytes] = field(default_factory=list)
    """To be told to publishers."""
    _counts: Counter[str] = field(default_factory=Counter)
    """Since the start: verdicts; values that were `yielded` to newer ones of other proxies; tombstones `forgotten`
    before their time; times that another proxy `confirmed` that it has all that was handed over; `batches` given."""

    def figures(self) -> dict[str, int]:
        """Return what there is, and what happened since the start. From any thread."""
        values, tombstones = self._sums
        now = {"values": values.count, "value_bytes": values.cost, "tombstones": tombstones.count}
        now["tombstone_bytes"] = tombstones.cost
        return now | {each: self._counts[each] for each in (*VERDICTS, "yielded", "forgotten", "confirmed", "batches")}

    # ── what is set ──────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, part: bytes, now_us: int, wall_ns: int, age_s: int = 0) -> str:
        """Keep a part that looks retained; return one of `VERDICTS`.

        now_us:  monotonic
        wall_ns: since 1970, by this proxy's clock
        age_s:   since it was taken elsewhere
        """
        verdict = self._judge(part, now_us, wall_ns, age_s)
        self._counts[verdict] += 1
        return verdict

    def _judge(self, part: bytes, now_us: int, wall_ns: int, age_s: int) -> str:
        fields = _read(part)
        if fields is None:
            return "malformed"
        if _is_ahead(fields.stamp, wall_ns):
            self._notice(fields.stamp, fields.key, "clock")
            return "clock"
        self.sweep(now_us, SWEPT_AT_A_TAKE)
        entry = self._entries.get(fields.key)
        if entry is not None and fields.stamp <= entry.stamp:
            return self._refuse(fields, entry)
        if entry is not None and not entry.dead and entry.stamp[1] != fields.stamp[1]:
            self._notice(entry.stamp, fields.key, "newer")
        living = entry if entry is not None and not entry.dead else None
        verdict = "kept" if fields.clears else self._over(part, living)
        if verdict != "kept":
            self._notice(fields.stamp, fields.key, verdict)
        if entry is not None:
            self._leave(fields.key, entry)
        taken_us = now_us - age_s * _SECOND_US
        if fields.clears or verdict != "kept":
            deadline = taken_us + TOMBSTONE_S * _SECOND_US
            new = _Entry(fields.tombstone(), fields.stamp, taken_us, deadline, dead=True)
        else:
            ends = taken_us + fields.expires_s * _SECOND_US if fields.expires_s else inf
            new = _Entry(part, fields.stamp, taken_us, ends, dead=False)
        self._enter(fields.key, new)
        if living is None or living.shared:
            self._claims.append(_claim(fields.key, new))
        while self._sums[True].count > self.max_topics or self._sums[True].cost > self.max_bytes:
            self._counts["forgotten"] += 1
            key = self._due[True][0][1]
            self._leave(key, self._entries[key])
        return verdict

    def _refuse(self, fields: _Fields, entry: _Entry) -> str:
        if fields.stamp == entry.stamp:
            return "repeated"
        if fields.stamp[1] != entry.stamp[1]:
            self._notice(fields.stamp, fields.key, "newer")
        return "older"

    def _over(self, part: bytes, living: _Entry | None) -> str:
        values = self._sums[False]
        if values.count - (living is not None) >= self.max_topics:
            return "topics"
        freed = living.cost if living is not None else 0
        return "bytes" if values.cost - freed + len(part) + EACH_BYTES > self.max_bytes else "kept"

    def sweep(self, now_us: int, most: int) -> None:
        """See to those whose time is over, the first ones first, at most so many."""
        for _ in range(most):
            deadline_us, key = min((each[0] for each in self._due if each), default=(inf, b""))
            if deadline_us > now_us:
                return
            entry = self._entries[key]
            if entry.dead:
                self._leave(key, entry)
            else:
                self._expire(key, entry)

    def _expire(self, key: bytes, entry: _Entry) -> None:
        fields = _read(entry.part)
        assert fields is not None, "only what could be read is kept"
        self._leave(key, entry)
        since = int(entry.deadline_us)
        ends = since + TOMBSTONE_S * _SECOND_US
        self._enter(key, _Entry(fields.tombstone(), entry.stamp, since, ends, dead=True, shared=entry.shared))

    def _enter(self, key: bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        insort(self._keys, key)
        self._sums[entry.dead].count += 1
        self._sums[entry.dead].cost += entry.cost
        if entry.deadline_us < inf:
            insort(self._due[entry.dead], (entry.deadline_us, key))

    def _leave(self, key: bytes, entry: _Entry) -> None:
        del self._entries[key]
        del self._keys[bisect_left(self._keys, key)]
        self._sums[entry.dead].count -= 1
        self._sums[entry.dead].cost -= entry.cost
        if entry.deadline_us < inf:
            due = self._due[entry.dead]
            del due[bisect_left(due, (entry.deadline_us, key))]

    # ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────

    def next(self, tour: Tour, now_us: int) -> tuple[bytes, bool]:
        """Return the next batch of values and tombstones, a whole part; and whether it is the last one.

        Payload: {nonce, index, last, parts: [bin, …], ages: [seconds since each was set, cleared, or ran out, …]}.
        """
        bodies, ages, size = list[bytes](), list[bytes](), 0
        ended = True
        for key in self._left(tour):
            entry = self._entries[key]
            if not entry.dead and entry.deadline_us <= now_us:
                self._expire(key, entry)
                entry = self._entries[key]
            if bodies and (size + len(entry.part) + 10 > BATCH_BYTES or len(bodies) == MOST_IN_BATCH):
                ended = False
                break
            bodies.append(b"\xc6" + struct.pack(">I", len(entry.part)) + entry.part)
            ages.append(b"\xce" + struct.pack(">I", max(0, now_us - entry.taken_us) // _SECOND_US))
            size += len(bodies[-1]) + len(ages[-1])
            tour.cursor = key
        count = struct.pack(">H", len(bodies))
        head = b"\x85\xa5nonce\xc4%c%b\xa5index\xce%b" % (len(tour.nonce), tour.nonce, struct.pack(">I", tour.index))
        head += b"\xa4last%c\xa5parts\xdc%b%b\xa4ages\xdc%b" % (0xC3 if ended else 0xC2, count, b"".join(bodies), count)
        tour.index += 1
        self._counts["batches"] += 1
        return tour.topic + _ENVELOPE + head + b"".join(ages), ended

    def next_claims(self, tour: Tour) -> tuple[bytes, bool]:
        """Return the next batch of claims to all that is there; and whether it is the last one."""
        claims, size = list[bytes](), 0
        ended = True
        for key in self._left(tour):
            if size >= BATCH_BYTES:
                ended = False
                break
            claims.append(_claim(key, self._entries[key]))
            size += len(claims[-1])
            tour.cursor = key
        tour.index += 1
        return tour.topic + _claims_body(claims), ended

    def _left(self, tour: Tour) -> Generator[bytes, None, None]:
        """Keys that are wanted and were not given yet. One may become a tombstone meanwhile."""
        at = 0 if tour.cursor is None else bisect_right(self._keys, tour.cursor)
        for prefix in tour.prefixes:
            at = max(at, bisect_left(self._keys, prefix))
            while at < len(self._keys) and self._keys[at].startswith(prefix):
                if prefix or tour.everything or self._keys[at][:1] not in (b"$", b"~"):
                    yield self._keys[at]
                at += 1

    # ── other proxies, and publishers ────────────────────────────────────────────────────────────────────────────

    def hear(self, body: bytes, now_us: int, wall_ns: int) -> bool:
        """Another proxy told claims, or handed values over; return whether that could be read.

        body:            what stands behind the NUL of the topic
        now_us, wall_ns: as for `take`
        """
        if body.startswith(_ENVELOPE + b"\xdd"):
            return self._hear_claims(_Reader(body, len(_ENVELOPE) + 1), wall_ns)
        reader = _Reader(body, 0)
        reader.eat(_ENVELOPE + b"\x85\xa5nonce\xc4")
        back = reader.taken(reader.fixed(1))
        reader.eat(b"\xa5index\xce")
        reader.fixed(4)
        reader.eat(b"\xa4last")
        last = reader.fixed(1) == 0xC3
        reader.eat(b"\xa5parts\xdc")
        parts = []
        for _ in range(reader.fixed(2)):
            reader.eat(b"\xc6")
            parts.append(reader.taken(reader.fixed(4)))
            if reader.failed:
                return False
        reader.eat(b"\xa4ages\xdc")
        if reader.fixed(2) != len(parts) or reader.failed or reader.left != 5 * len(parts):
            return False
        for part in parts:
            reader.fixed(1)
            self.take(part, now_us, wall_ns, reader.fixed(4))
        if last and back:
            self._notices.append(back + _claims_body([]))
        return True

    def _hear_claims(self, reader: _Reader, wall_ns: int) -> bool:
        count = reader.fixed(4)
        if not count and not reader.failed:
            self._counts["confirmed"] += 1
        for _ in range(count):
            reader.eat(b"\x93\xc5")
            key = reader.taken(reader.fixed(2)) + b"\0"
            reader.eat(b"\xcf")
            sent_ns = reader.fixed(8)
            reader.eat(b"\xcf")
            publisher = reader.fixed(8)
            if reader.failed:
                return False
            if _is_ahead((sent_ns, publisher), wall_ns):
                self._counts["clock"] += 1
            elif key in self._entries:
                self._hear_claim(key, self._entries[key], (sent_ns, publisher))
        return not reader.failed and reader.left == 0

    def _hear_claim(self, key: bytes, entry: _Entry, stamp: Stamp) -> None:
        if stamp > entry.stamp:
            if not entry.dead:
                self._counts["yielded"] += 1
                if entry.stamp[1] != stamp[1]:
                    self._notice(entry.stamp, key, "newer")
            self._leave(key, entry)
        elif stamp < entry.stamp:
            self._claims.append(_claim(key, entry))
        elif not entry.shared:
            entry.shared = True
            self._claims.append(_claim(key, entry))

    def take_claims(self, topic: bytes) -> bytes | None:
        """Return what is to be claimed since this was last asked, a whole part; None: nothing. topic: with its NUL"""
        claims, self._claims = self._claims, []
        return topic + _claims_body(claims) if claims else None

    def take_notices(self) -> list[bytes]:
        """Return what publishers are to be told since this was last asked: whole parts, see `_notice`."""
        notices, self._notices = self._notices, []
        return notices

    def _notice(self, stamp: Stamp, key: bytes, why: str) -> None:
        """Tell a publisher that its value is not kept: `$ack/<its id>/k`, payload {topic, sent_ns, why}.

        why: `topics` or `bytes`, over that bound; `newer`: another publisher's value is; `clock`: it is too far ahead
        """
        sent_ns, publisher = stamp
        fields = b"\x83\xa5topic\xdb%b%b" % (struct.pack(">I", len(key) - 1), key[:-1])
        fields += b"\xa7sent_ns\xcf%b\xa3why%c%b" % (struct.pack(">Q", sent_ns), 0xA0 | len(why), why.encode())
        self._notices.append(b"$ack/%016x/k\0%b%b" % (publisher, _ENVELOPE, fields))


def _is_ahead(stamp: Stamp, wall_ns: int) -> bool:
    return stamp[0] > wall_ns + AHEAD_NS


def _claim(key: bytes, entry: _Entry) -> bytes:
    sent_ns, publisher = entry.stamp
    return b"\x93\xc5%b%b" % (struct.pack(">H", len(key) - 1), key[:-1]) + struct.pack(
        ">BQBQ", 0xCF, sent_ns, 0xCF, publisher
    )


def _claims_body(claims: list[bytes]) -> bytes:
    return _ENVELOPE + b"\xdd" + struct.pack(">I", len(claims)) + b"".join(claims)


# ── reading in place ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Reader:
    """Reads bytes from a place on; `failed` once they were not what was looked for."""

    def __init__(self, raw: bytes, at: int) -> None:
        self.raw, self.at, self.failed = raw, at, False

    @property
    def left(self) -> int:
        return len(self.raw) - self.at

    def eat(self, what: bytes) -> None:
        if self.taken(len(what)) != what:
            self.failed = True

    def taken(self, size: int) -> bytes:
        if self.failed or self.left < size:
            self.failed = True
            return b""
        self.at += size
        return self.raw[self.at - size : self.at]

    def fixed(self, size: int) -> int:
        return int.from_bytes(self.taken(size), "big")

    def number(self) -> int:
        """An int of at least 0, as msgpack has it."""
        first = self.fixed(1)
        if 0xCC <= first <= 0xCF:
            return self.fixed(1 << (first - 0xCC))
        self.failed = self.failed or first > 0x7F
        return first

    def skip(self, values: int) -> None:
        """Pass over so many msgpack values, whatever they nest; extension types are refused."""
        while values and not self.failed:
            values -= 1
            first = self.fixed(1)
            if self.failed:
                return
            if first in _COUNTS:
                size, each = _COUNTS[first]
                values += each * self.fixed(size)
            elif 0x80 <= first <= 0x9F:
                values += (first & 0x0F) * (2 if first < 0x90 else 1)
            elif 0xA0 <= first <= 0xBF:
                self.taken(first & 0x1F)
            elif first in _SIZES:
                self.taken(self.fixed(_SIZES[first]))
            elif first in _FIXED:
                self.taken(_FIXED[first])
            elif 0x80 <= first < 0xE0:
                self.failed = True
            self.failed = self.failed or values > self.left  # each needs a byte


def _read(part: bytes) -> _Fields | None:
    """Read a retained part; None for anything else."""
    nul = part.find(b"\0")
    if nul <= 0 or len(part) < nul + 1 + TAIL_BYTES:
        return None
    body = _Reader(part, nul + 1)
    body.eat(b"\x96\x01")
    start = body.at
    publisher, number, sent_ns = body.number(), body.number(), body.number()
    if body.failed or number < 1 or not body.left:
        return None
    head, clears = part[start : body.at], part[body.at] == 0xC0
    body.skip(1)
    headers = body.fixed(1)
    if headers in (0xDE, 0xDF):
        headers = body.fixed(2 if headers == 0xDE else 4)
    elif headers & 0xF0 == 0x80:
        headers &= 0x0F
    else:
        return None
    if body.failed or not headers:
        return None
    body.skip(2 * (headers - 1))
    if body.failed or body.left != TAIL_BYTES:
        return None
    body.eat(TAIL)
    expires_s = body.fixed(4)
    return None if body.failed else _Fields(part[: nul + 1], head, (sent_ns, publisher), expires_s, clears)

"""Which prefixes a node holds at ZeroMQ, for the filters its subscribers hold: pure, effects as data.

Three sets, each derived from the one before it:

    wanted   the prefixes of every held filter (`topics.subscription_prefixes`), reference-counted; in place of one of
             more than `MAX_PREFIX_BYTES`, the longest group above it that is not
    exact    those of them that no shorter wanted prefix covers
    wire     what is subscribed upstream: `exact`, or, beyond the budget, coarser groups in its place. The budget is of
             number and of bytes: a trie takes up to 340 bytes for each byte of a prefix

A prefix is empty, or ends in `/` (a group: everything below that level), or in NUL (one topic), so one covers another
exactly when it is its beginning. `wanted` is kept in a tree of groups; in `wire` nothing covers anything else.

Beyond the budget, groups with several members are replaced by the group itself: the deepest level first, as a deep
group lets through least that nobody asked for; on one level the one with most members first, as that is likeliest to be
wanted as a whole. For bytes, groups with one member as well, and the one that saves most first. If it must be, this
ends at the empty prefix. It goes an eighth below the budget, so that its cost is paid once for many filters. Refining
waits until the exact prefixes fit into three quarters of the budget, or are half as many as they were since they were
last refined: so no change and its opposite cost much again and again.

Reading order: `Interest.hold` and `release`, then `_want` and `_unwant`, then `_coarsen` and `_refine`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from typing import NamedTuple

from fabric.errors import expected
from fabric.topics import subscription_prefixes

MAX_PREFIX_BYTES = 4096
"""Longest prefix sent upstream, see `sockets.UPSTREAM_BYTES`. What needs a longer one gets more than it matches."""
BYTES_EACH = 64
LEAST_BYTES = 64 * 1024


class Change(NamedTuple):
    """What to do upstream: send every `subscribe`, then every `cancel`, in one go. No held filter is uncovered between.

    needs: the prefixes that carry the filter from now on; empty once it is not held any more.
    """

    subscribe: tuple[bytes, ...]
    cancel: tuple[bytes, ...]
    needs: tuple[bytes, ...]


class Interest:
    """Held filters in, subscribe and cancel effects out.

    max_prefixes: most prefixes held upstream, at least 1, for as long as no change is being applied. Default 1,000:
                  each costs a proxy about 2.5 kB, and when a peer leaves, the proxy stalls while it removes them all
    max_bytes:    most bytes of these together, likewise. Default: 64 for each prefix, at least 64 KiB
    may_hold:     whether a coarser group may be held in place of its members: where not, a budget is exceeded
    """

    def __init__(
        self,
        max_prefixes: int = 1000,
        max_bytes: int | None = None,
        may_hold: Callable[[bytes], bool] = lambda prefix: True,
    ) -> None:
        if max_bytes is None:
            max_bytes = max(LEAST_BYTES, BYTES_EACH * max_prefixes)
        for name, value in (("max_prefixes", max_prefixes), ("max_bytes", max_bytes)):
            if value < 1:
                raise ValueError(expected(name, value, "at least 1"))
        self._max, self._may_hold = _Size(max_prefixes, max_bytes), may_hold
        self._coarsen_to = _Size(max_prefixes - max_prefixes // 8, max_bytes - max_bytes // 8)
        """Coarsening stops at so much."""
        self._refine_at = _Size(max(1, max_prefixes * 3 // 4), max(1, max_bytes * 3 // 4))
        """Refining waits until so little would do."""
        self._filters: dict[str, int] = {}
        """Filters held, and how often each; never 0."""
        self._wanted: dict[bytes, int] = {}
        """Prefixes of `_filters`, and how many distinct filters want each; never 0."""
        self._children: dict[bytes, dict[bytes, None]] = {}
        """The tree of `_wanted`: group -> its next level, in a set that keeps its order. No group is empty."""
        self._wire: set[bytes] = set()
        """Prefixes upstream. Each of `_wanted` is covered by exactly one of them; none of them covers another."""
        self._coarse: dict[bytes, None] = {}
        """Those of `_wire` that are not in `_wanted`."""
        self._wire_bytes = 0
        """Of `_wire`."""
        self._exact = _Size(0, 0)
        """Those of `_wanted` that no shorter one covers."""
        self._planned = _Size(0, 0)
        """The largest `_exact` since the last `_refine`, by number and by bytes."""
        self._subscribe: dict[bytes, None] = {}
        self._cancel: dict[bytes, None] = {}
        """Net effects of the call that is running, disjoint; empty between calls."""

    def hold(self, topic_filter: str) -> Change:
        """Hold `topic_filter` once more.

        raises: InvalidFilter, and nothing has changed
        cost:   O(levels), amortised; a new group also walks the prefixes below it
        """
        prefixes = wire_prefixes(topic_filter)
        count = self._filters.get(topic_filter, 0)
        self._filters[topic_filter] = count + 1
        if count == 0:
            for prefix in prefixes:
                self._want(prefix)
            if not self._wire_size <= self._max:
                self._coarsen()
        return self._change(self._carriers(prefixes))

    def release(self, topic_filter: str) -> Change:
        """Undo one `hold` of `topic_filter`.

        raises: KeyError when it is not held, and nothing has changed
        cost:   as `hold`; a group that goes walks the prefixes below it, once
        """
        count = self._count(topic_filter)
        prefixes = wire_prefixes(topic_filter)
        if count > 1:
            self._filters[topic_filter] = count - 1
            return self._change(self._carriers(prefixes))
        del self._filters[topic_filter]
        for prefix in prefixes:
            self._unwant(prefix)
        if self._coarse and (self._exact <= self._refine_at or self._exact.is_half_of(self._planned)):
            self._refine()
        if not self._wire_size <= self._max:
            self._coarsen()
        return self._change(())

    def wire(self) -> frozenset[bytes]:
        """Return the prefixes held upstream, as a copy: O(their number)."""
        return frozenset(self._wire)

    def carries(self, prefix: bytes) -> bool:
        """Return whether exactly `prefix` is held upstream."""
        return prefix in self._wire

    def stats(self) -> dict[str, int]:
        """Return counts: filters, prefixes that carry exactly these, prefixes upstream, and the coarser of these."""
        return {
            "filters": len(self._filters),
            "exact": self._exact.number,
            "wire": len(self._wire),
            "coarse": len(self._coarse),
            "bytes": self._wire_bytes,
            "max_prefixes": self._max.number,
            "max_bytes": self._max.size,
        }

    @property
    def _wire_size(self) -> _Size:
        return _Size(len(self._wire), self._wire_bytes)

    def _count(self, topic_filter: str) -> int:
        count = self._filters.get(topic_filter)
        if count is None:
            raise KeyError(f"filter {topic_filter!r} is not held: hold it first, and release it once for each hold")
        return count

    def _carriers(self, prefixes: tuple[bytes, ...]) -> tuple[bytes, ...]:
        found = (_shortest(prefix, self._wire) for prefix in prefixes)
        return tuple(dict.fromkeys(carrier for carrier in found if carrier is not None))

    def _change(self, needs: tuple[bytes, ...]) -> Change:
        self._planned = self._planned.or_more(self._exact)
        change = Change(tuple(self._subscribe), tuple(self._cancel), needs)
        self._subscribe.clear()
        self._cancel.clear()
        return change

    def _want(self, prefix: bytes) -> None:
        if prefix in self._wanted:
            self._wanted[prefix] += 1
            return
        carrier = _shortest(prefix, self._wire)
        covered = carrier is not None and _shortest(prefix, self._wanted) is not None
        self._wanted[prefix] = 1
        self._coarse.pop(prefix, None)
        self._grow(prefix)
        if not covered:
            self._exact = self._exact.changed([prefix], list(self._below(prefix, self._wanted)))
        if carrier is None:
            self._replace(self._below(prefix, self._wire), [prefix])

    def _unwant(self, prefix: bytes) -> None:
        self._wanted[prefix] -= 1
        if self._wanted[prefix]:
            return
        del self._wanted[prefix]
        self._prune(prefix)
        if _shortest(prefix, self._wanted) is not None:
            return
        uncovered = list(self._below(prefix, self._wanted))
        self._exact = self._exact.changed(uncovered, [prefix])
        carrier = _shortest(prefix, self._wire)
        if carrier == prefix:
            self._replace([prefix], uncovered)
        elif carrier is not None and carrier not in self._children:  # a coarser one whose last member this was
            self._drop(carrier)

    def _coarsen(self) -> None:
        """Put coarser groups on the wire until it is an eighth below the budget. O(prefixes on the wire * levels)."""
        groups: defaultdict[int, list[bytes]] = defaultdict(list)
        stack = [(0, b"")]
        while stack:
            level, group = stack.pop()
            groups[level].append(group)
            stack += (
                (level + 1, child)
                for child in self._children[group]
                if child in self._children and child not in self._wire
            )
        for level in sorted(groups, reverse=True):
            # What lies deeper is one prefix a child by now, so the children are the members.
            by_bytes = self._wire_bytes > self._coarsen_to.size
            worth = {group: self._worth(group, by_bytes=by_bytes) for group in groups[level]}
            worthy = [group for group in worth if worth[group] > 0 and self._may_hold(group)]
            for group in sorted(worthy, key=worth.__getitem__, reverse=True):
                self._replace(self._below(group, self._wire), [group])
                if self._wire_size <= self._coarsen_to:
                    return

    def _worth(self, group: bytes, *, by_bytes: bool) -> int:
        """What it saves to hold `group` in place of its members: prefixes, or bytes."""
        if by_bytes:
            return sum(map(len, self._below(group, self._wire))) - len(group)
        return len(self._children[group]) - 1

    def _refine(self) -> None:
        """Replace every coarser group by what is wanted in it; the caller coarsens again what is too much. O(exact)."""
        for group in list(self._coarse):
            self._replace([group], list(self._below(group, self._wanted)))
        self._planned = self._exact

    def _replace(self, old: Iterable[bytes], new: Iterable[bytes]) -> None:
        for prefix in list(old):
            self._drop(prefix)
        for prefix in new:
            self._wire.add(prefix)
            self._wire_bytes += len(prefix)
            if prefix not in self._wanted:
                self._coarse[prefix] = None
            if prefix in self._cancel:
                del self._cancel[prefix]
            else:
                self._subscribe[prefix] = None

    def _drop(self, prefix: bytes) -> None:
        self._wire.remove(prefix)
        self._wire_bytes -= len(prefix)
        self._coarse.pop(prefix, None)
        if prefix in self._subscribe:
            del self._subscribe[prefix]
        else:
            self._cancel[prefix] = None

    def _below(self, group: bytes, stop: Container[bytes]) -> Iterator[bytes]:
        """Yield what lies strictly below `group` in the tree and is in `stop`, not looking further below it."""
        stack = list(self._children.get(group, ()))
        while stack:
            prefix = stack.pop()
            if prefix in stop:
                yield prefix
            else:
                stack += self._children[prefix]

    def _grow(self, prefix: bytes) -> None:
        while prefix:
            group = _parent(prefix)
            siblings = self._children.get(group)
            if siblings is not None:
                siblings[prefix] = None
                return
            self._children[group] = {prefix: None}
            prefix = group

    def _prune(self, prefix: bytes) -> None:
        while prefix and prefix not in self._children and prefix not in self._wanted:
            group = _parent(prefix)
            del self._children[group][prefix]
            if not self._children[group]:
                del self._children[group]
            prefix = group


class _Size(NamedTuple):
    """So many prefixes, and their bytes. Compared as both together, not one after the other."""

    number: int
    size: int

    def __le__(self, other: tuple[int, ...]) -> bool:
        return self.number <= other[0] and self.size <= other[1]

    def changed(self, came: list[bytes], went: list[bytes]) -> _Size:
        number, more = len(came) - len(went), sum(map(len, came)) - sum(map(len, went))
        return _Size(self.number + number, self.size + more)

    def or_more(self, other: _Size) -> _Size:
        return _Size(max(self.number, other.number), max(self.size, other.size))

    def is_half_of(self, other: _Size) -> bool:
        return self.number * 2 <= other.number or self.size * 2 <= other.size


def wire_prefixes(topic_filter: str) -> tuple[bytes, ...]:
    """Return the prefixes that bring what a filter matches, each short enough to be sent."""
    return tuple(dict.fromkeys(map(_short_enough, subscription_prefixes(topic_filter))))


def _short_enough(prefix: bytes) -> bytes:
    return prefix if len(prefix) <= MAX_PREFIX_BYTES else prefix[: prefix.rfind(b"/", 0, MAX_PREFIX_BYTES) + 1]


def _parent(prefix: bytes) -> bytes:
    """Return the group that `prefix` is a member of: `a/b` + NUL and `a/b/` -> `a/` -> empty."""
    return prefix[: prefix.rfind(b"/", 0, -1) + 1]


def _shortest(prefix: bytes, among: Container[bytes]) -> bytes | None:
    """Return the shortest prefix in `among` that covers `prefix`, which may be itself. O(levels)."""
    if b"" in among:
        return b""
    end = prefix.find(b"/") + 1
    while end:
        if prefix[:end] in among:
            return prefix[:end]
        end = prefix.find(b"/", end) + 1
    return prefix if prefix in among else None

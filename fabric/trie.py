"""The matcher: many topic filters, each with values, and for one topic the values of all filters that match.

It knows levels and opaque values only: no node, no socket, no message. One dict holds every filter with its bag of
values. A topic holds no wildcard, so looking it up there finds exactly the filter that is the topic itself; only
filters with a wildcard stand in the trees as well. Read `match`, then `_Level`, then `_plant` and `_uproot`.

It has no lock: threads that share one lock around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Generic, TypeVar

from fabric.topics import RESERVED, validate_filter

T = TypeVar("T")


class SubscriptionTrie(Generic[T]):
    """A multiset of (filter, value) pairs, asked by topic. Values need `==` and `hash`; equal values are one value."""

    def __init__(self) -> None:
        self._bags: dict[str, dict[T, int]] = {}  # filter -> value -> how often it was added
        self._size = 0
        self._repeats = 0  # pairs beyond the first of their kind; while there are none, `match` need not count
        # Two trees, as no leading wildcard meets a first level with `$` or `~`: so the rule costs nothing further down.
        self._ordinary: _Level[T] = _Level()
        self._reserved: _Level[T] = _Level()

    def add(self, topic_filter: str, value: T) -> None:
        """Add `value` under the filter; the same pair added twice counts twice.

        errors: `InvalidFilter`; TypeError for a value that has no hash; nothing has changed then
        cost:   O(levels)
        """
        validate_filter(topic_filter)
        bag = self._bags.get(topic_filter)
        if bag is None:
            bag = {value: 1}
            self._bags[topic_filter] = bag
            if _has_wildcard(topic_filter):
                self._plant(topic_filter, bag)
        elif value in bag:
            bag[value] += 1
            self._repeats += 1
        else:
            bag[value] = 1
        self._size += 1

    def remove(self, topic_filter: str, value: T) -> None:
        """Remove `value` once from under the filter.

        errors: KeyError when it is not there; nothing has changed then
        cost:   O(levels)
        """
        bag = self._bags.get(topic_filter)
        if bag is None or value not in bag:
            raise KeyError((topic_filter, value))
        self._size -= 1
        if bag[value] > 1:
            bag[value] -= 1
            self._repeats -= 1
            return
        del bag[value]
        if not bag:
            del self._bags[topic_filter]
            if _has_wildcard(topic_filter):
                self._uproot(topic_filter)

    def match(self, topic: str) -> list[T]:
        """Return the values of every filter that matches `topic`.

        topic:   a valid topic, at most 201 levels; not checked here
        returns: new list, in no order; a value added under two matching filters appears twice
        cost:    O(levels) for literal filters; at worst O(2**levels), bounded by the trie's size
        source:  MQTT 5.0 §4.7
        """
        exact = self._bags.get(topic)
        bags = [] if exact is None else [exact]
        reached = [self._root(topic)]
        for level in topic.split("/"):
            following: list[_Level[T]] = []
            for node in reached:
                if (below := node.below) is not None:
                    bags.append(below)
                if (child := node.single) is not None:
                    following.append(child)
                if (child := node.literal.get(level)) is not None:
                    following.append(child)
            reached = following
        for node in reached:
            if node.below is not None:  # `a/#` matches `a` too
                bags.append(node.below)
            if node.here is not None:
                bags.append(node.here)
        return self._values(bags)

    def levels(self) -> int:
        """Return how many filters and inner levels are held, 0 when all was removed: for tests.

        cost: O(all of them)
        """
        count, waiting = 0, [self._ordinary, self._reserved]
        while waiting:
            children = waiting.pop().children()
            count += len(children)
            waiting += children
        return len(self._bags) + count

    def __len__(self) -> int:
        """Return how many values are held, over all filters."""
        return self._size

    def __iter__(self) -> Iterator[tuple[str, T]]:
        """Yield every (filter, value) pair, as often as it was added."""
        for topic_filter, bag in self._bags.items():
            for value, count in bag.items():
                yield from repeat((topic_filter, value), count)

    def _values(self, bags: list[dict[T, int]]) -> list[T]:
        values: list[T] = []
        if not self._repeats:
            for bag in bags:
                values += bag
        else:
            for bag in bags:
                for value, count in bag.items():
                    values += repeat(value, count)
        return values

    def _root(self, topic_or_filter: str) -> _Level[T]:
        return self._reserved if topic_or_filter[:1] in RESERVED else self._ordinary

    def _plant(self, topic_filter: str, bag: dict[T, int]) -> None:
        """Make the levels of a new filter and leave its bag at the last one."""
        node = self._root(topic_filter)
        levels, below = _levels_and_below(topic_filter)
        for level in levels:
            node = node.child(level)
        if below:
            node.below = bag
        else:
            node.here = bag

    def _uproot(self, topic_filter: str) -> None:
        """Take away the bag of a filter, and every level that then holds nothing."""
        node = self._root(topic_filter)
        levels, below = _levels_and_below(topic_filter)
        way = []
        for level in levels:
            way.append((node, level))
            node = node.child(level)
        if below:
            node.below = None
        else:
            node.here = None
        while way and node.is_bare():
            node, level = way.pop()
            node.drop(level)


class _Level(Generic[T]):
    """One level of the filters that hold a wildcard; slots and a `+` outside the dict make `match` a fifth faster."""

    __slots__ = ("below", "here", "literal", "single")

    def __init__(self) -> None:
        self.literal: dict[str, _Level[T]] = {}
        self.single: _Level[T] | None = None  # what follows a `+`
        self.here: dict[T, int] | None = None  # the bag of the filter that ends here
        self.below: dict[T, int] | None = None  # the bag of the filter that goes on with `#`: here and all below

    def child(self, level: str) -> _Level[T]:
        """Return the child for a literal level or `+`; made if it is not there yet."""
        if level == "+":
            if self.single is None:
                self.single = _Level()
            return self.single
        if level not in self.literal:
            self.literal[level] = _Level()
        return self.literal[level]

    def drop(self, level: str) -> None:
        if level == "+":
            self.single = None
        else:
            del self.literal[level]

    def children(self) -> list[_Level[T]]:
        return [*self.literal.values(), *([] if self.single is None else [self.single])]

    def is_bare(self) -> bool:
        return not self.literal and self.single is None and self.here is None and self.below is None


def _has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter


def _levels_and_below(topic_filter: str) -> tuple[list[str], bool]:
    """Return the levels to walk, and whether the filter ends in `#`, which is not a level to walk."""
    levels = topic_filter.split("/")
    return (levels[:-1], True) if levels[-1] == "#" else (levels, False)

"""The matcher: many topic filters, each with values, and for one topic the values of all filters that match.

It knows levels and opaque values only: no node, no socket, no message. One dict holds every filter with its bag of
values. A topic holds no wildcard, so looking it up there finds exactly the filter that is the topic itself; only
filters with a wildcard stand in the trees as well. Read `match`, then `_plant` and `_uproot`.

It has no lock: whoever shares one between threads locks around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Generic, TypeVar

from fabric.topics import RESERVED, validate_filter

T = TypeVar("T")


class _Level(Generic[T]):
    """One level of the filters that hold a wildcard."""

    __slots__ = ("below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Level[T]] = {}  # `+` is a key like any other: no topic has such a level
        self.here: dict[T, int] | None = None  # values of the filter that ends here
        self.below: dict[T, int] | None = None  # values of the filter that goes on with `#`: here and all below

    def is_bare(self) -> bool:
        return not self.children and self.here is None and self.below is None


class SubscriptionTrie(Generic[T]):
    """A multiset of (filter, value) pairs, asked by topic. Values need `==` and `hash`; equal values are one value."""

    def __init__(self) -> None:
        self._bags: dict[str, dict[T, int]] = {}  # filter -> value -> how often it was added
        self._size = 0
        self._repeats = 0  # pairs beyond the first of their kind; with none, `match` copies keys and counts nothing
        # Two trees, as no leading wildcard meets a first level with `$` or `~`: the rule costs nothing further down.
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
        root = self._reserved if topic[:1] in RESERVED else self._ordinary
        if root.below is not None:
            bags.append(root.below)
        reached = [root]
        for level in topic.split("/"):
            following: list[_Level[T]] = []
            for node in reached:
                children = node.children
                if (child := children.get(level)) is not None:
                    following.append(child)
                    if child.below is not None:
                        bags.append(child.below)
                if (child := children.get("+")) is not None:
                    following.append(child)
                    if child.below is not None:
                        bags.append(child.below)
            if not following:
                break
            reached = following
        else:
            bags.extend(node.here for node in reached if node.here is not None)
        return self._values(bags)

    def levels(self) -> int:
        """Return how many filters and inner levels are held, 0 when all was removed: for tests.

        cost: O(all of them)
        """
        count, waiting = 0, [self._ordinary, self._reserved]
        while waiting:
            children = waiting.pop().children.values()
            count += len(children)
            waiting.extend(children)
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

    def _plant(self, topic_filter: str, bag: dict[T, int]) -> None:
        """Make the levels of a new filter and leave its bag at the last one."""
        node, levels, below = self._way(topic_filter)
        for level in levels:
            node = node.children.setdefault(level, _Level())
        if below:
            node.below = bag
        else:
            node.here = bag

    def _uproot(self, topic_filter: str) -> None:
        """Take away the bag of a filter, and every level that then holds nothing."""
        node, levels, below = self._way(topic_filter)
        parents = []
        for level in levels:
            parents.append(node)
            node = node.children[level]
        if below:
            node.below = None
        else:
            node.here = None
        while parents and node.is_bare():
            node = parents.pop()
            del node.children[levels[len(parents)]]

    def _way(self, topic_filter: str) -> tuple[_Level[T], list[str], bool]:
        """Return the root to start from, the levels to walk, and whether the filter ends in `#`, which is no level."""
        root = self._reserved if topic_filter.startswith(RESERVED) else self._ordinary
        levels = topic_filter.split("/")
        below = levels[-1] == "#"
        return root, levels[:-1] if below else levels, below


def _has_wildcard(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter

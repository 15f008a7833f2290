"""Unconfirmed: what is kept after sends, returned watermarks and broken connections, against a plain list."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fabric.node.unconfirmed import KEEP_S, Unconfirmed

OVERHEAD = 60  # bytes that `Unconfirmed` counts for each part beside its own


def parts(count: int) -> list[bytes]:
    return [b"part %d" % number for number in range(1, count + 1)]


def filled(count: int, *, max_bytes: int = 1_000_000) -> Unconfirmed:
    unconfirmed = Unconfirmed(max_bytes=max_bytes)
    for part in parts(count):
        unconfirmed.add(part)
    return unconfirmed


def test_a_part_is_kept_until_its_watermark_came_back_and_the_hold_is_over() -> None:
    unconfirmed = filled(3)
    unconfirmed.watermark_returned(2, now=10.0)
    assert (unconfirmed.count, unconfirmed.kept()) == (1, parts(3))
    unconfirmed.tick(10.0 + KEEP_S - 0.001)
    assert unconfirmed.kept() == parts(3)
    unconfirmed.tick(10.0 + KEEP_S)
    assert unconfirmed.kept() == [b"part 3"]


def test_it_says_whether_a_part_can_be_kept_without_giving_up_another() -> None:
    unconfirmed = filled(1, max_bytes=2 * (OVERHEAD + 6))
    assert unconfirmed.has_room_for(b"part 2") and not unconfirmed.has_room_for(b"part 02")
    unconfirmed.add(b"part 2")
    assert not unconfirmed.has_room_for(b"") and unconfirmed.take_uncertain() == 0


def test_watermarks_that_are_late_repeated_or_from_nowhere_change_nothing() -> None:
    unconfirmed = filled(3)
    unconfirmed.watermark_returned(2, now=0.0)
    for count in (2, 1, 0, -1, 4, 10**9):
        unconfirmed.watermark_returned(count, now=0.0)
    assert unconfirmed.count == 1
    unconfirmed.tick(100.0)
    assert unconfirmed.kept() == [b"part 3"]


def test_it_says_when_there_is_something_to_let_go_of() -> None:
    unconfirmed = filled(3)
    assert unconfirmed.due_at == math.inf
    unconfirmed.watermark_returned(1, now=10.0)
    unconfirmed.watermark_returned(3, now=11.0)
    assert unconfirmed.due_at == 10.0 + KEEP_S
    unconfirmed.tick(unconfirmed.due_at)
    assert unconfirmed.due_at == 11.0 + KEEP_S
    unconfirmed.tick(unconfirmed.due_at)
    assert unconfirmed.due_at == math.inf


def test_where_nothing_was_sent_nothing_is_to_be_confirmed() -> None:
    unconfirmed = Unconfirmed()
    unconfirmed.watermark_returned(0, now=0.0)
    unconfirmed.tick(100.0)
    assert (unconfirmed.sent, unconfirmed.count, unconfirmed.kept(), unconfirmed.take_uncertain()) == (0, 0, [], 0)


def test_beyond_the_bound_the_oldest_is_given_up() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    unconfirmed = filled(5, max_bytes=room_for_two)
    assert unconfirmed.kept() == [b"part 4", b"part 5"]
    assert unconfirmed.take_uncertain() == 3, "1, 2 and 3 can not be sent again"
    assert unconfirmed.take_uncertain() == 0, "they are reported once"
    assert unconfirmed.count == 2


def test_what_was_confirmed_before_it_was_given_up_is_not_uncertain() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    unconfirmed = filled(2, max_bytes=room_for_two)
    unconfirmed.watermark_returned(2, now=0.0)
    unconfirmed.add(b"part 3")
    assert unconfirmed.kept() == [b"part 2", b"part 3"]
    assert unconfirmed.take_uncertain() == 0


def test_a_part_larger_than_the_bound_is_given_up_at_once() -> None:
    unconfirmed = Unconfirmed(max_bytes=100)
    unconfirmed.add(bytes(101))
    assert (unconfirmed.kept(), unconfirmed.count, unconfirmed.take_uncertain()) == ([], 1, 1)


def test_room_is_free_again_when_parts_are_let_go() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    unconfirmed = filled(2, max_bytes=room_for_two)
    unconfirmed.watermark_returned(2, now=0.0)
    unconfirmed.tick(KEEP_S)
    assert unconfirmed.kept() == []
    unconfirmed.add(b"part 3")
    unconfirmed.add(b"part 4")
    assert (unconfirmed.kept(), unconfirmed.take_uncertain()) == ([b"part 3", b"part 4"], 0)


def test_where_nothing_is_forgotten_it_is_full_at_its_bound_until_something_is_confirmed() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    unconfirmed = Unconfirmed(max_bytes=room_for_two, forgets=False)
    assert not unconfirmed.is_full
    unconfirmed.add(b"part 1")
    assert not unconfirmed.is_full
    unconfirmed.add(b"part 2")
    assert unconfirmed.is_full
    unconfirmed.add(b"part 3")  # a tail, say
    assert (unconfirmed.kept(), unconfirmed.take_uncertain()) == (parts(3), 0)
    unconfirmed.watermark_returned(2, now=0.0)
    assert not unconfirmed.is_full and unconfirmed.kept() == [b"part 2", b"part 3"], "what is confirmed goes early"
    unconfirmed.add(b"part 4")
    assert unconfirmed.is_full and unconfirmed.kept() == [b"part 3", b"part 4"]
    assert unconfirmed.take_uncertain() == 0


def test_where_the_oldest_is_forgotten_it_is_never_full() -> None:
    assert not filled(5, max_bytes=100).is_full


class Twin(RuleBasedStateMachine):
    """Every part has its number as its content; the twin remembers by number, and recounts from scratch."""

    MAX_BYTES = 500
    KEEP = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.unconfirmed = Unconfirmed(max_bytes=self.MAX_BYTES, keep_s=self.KEEP)
        self.now = 0.0
        self.sizes: list[int] = []
        self.kept: list[int] = []
        self.confirmed_at: dict[int, float] = {}
        self.overflowed: set[int] = set()
        self.reported: set[int] = set()

    def part(self, size: int) -> bytes:
        self.sizes.append(size)
        self.kept.append(len(self.sizes))
        return len(self.sizes).to_bytes(4, "big").ljust(size, b".")

    @rule(size=st.sampled_from([4, 5, 40, 200, 600]))
    def add(self, size: int) -> None:
        self.unconfirmed.add(self.part(size))
        self.hold_to_bound()

    @rule(sizes=st.lists(st.sampled_from([4, 5, 40, 200]), max_size=12))
    def add_together(self, sizes: list[int]) -> None:
        """As the outlet does."""
        self.unconfirmed.fresh.extend(map(self.part, sizes))
        self.unconfirmed.count_fresh()
        self.hold_to_bound()

    def hold_to_bound(self) -> None:
        while sum(self.sizes[each - 1] + OVERHEAD for each in self.kept) > self.MAX_BYTES:
            self.overflowed.add(self.kept.pop(0))

    @rule(count=st.integers(-1, 60), passed=st.sampled_from([0.0, 0.5, 1.0]))
    def confirm(self, count: int, passed: float) -> None:
        self.now += passed
        self.unconfirmed.watermark_returned(count, self.now)
        if count <= len(self.sizes):
            for number in range(1, count + 1):
                self.confirmed_at.setdefault(number, self.now)

    @rule(passed=st.sampled_from([0.0, 1.0, 2.0]))
    def tick(self, passed: float) -> None:
        self.now += passed
        self.unconfirmed.tick(self.now)
        over = {number for number, at in self.confirmed_at.items() if at + self.KEEP <= self.now}
        self.kept = [number for number in self.kept if number not in over - self.reported]

    @rule()
    def connection_breaks(self) -> None:
        lost = self.overflowed - self.confirmed_at.keys() - self.reported
        assert self.unconfirmed.take_uncertain() == len(lost)
        self.reported |= lost

    @invariant()
    def keeps_what_the_twin_keeps_in_order(self) -> None:
        kept = [int.from_bytes(part[:4], "big") for part in self.unconfirmed.kept()]
        assert kept == self.kept
        assert self.unconfirmed.sent == len(self.sizes)
        assert self.unconfirmed.count == len(self.sizes) - len(self.confirmed_at.keys() | self.reported)

    @invariant()
    def nothing_unconfirmed_is_forgotten_unless_it_overflowed(self) -> None:
        unconfirmed = set(range(1, len(self.sizes) + 1)) - self.confirmed_at.keys()
        assert unconfirmed <= set(self.kept) | self.overflowed


TestTwin = Twin.TestCase
TestTwin.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_what_is_fresh_is_uncertain_only_once_it_is_counted() -> None:
    """`take_uncertain` is called without the lock: a part that is being added meanwhile must not get lost."""
    unconfirmed = Unconfirmed(max_bytes=200)
    unconfirmed.fresh += [bytes(40)] * 5
    assert unconfirmed.take_uncertain() == 0 and len(unconfirmed.fresh) == 5
    assert len(unconfirmed.kept()) == 2 and unconfirmed.take_uncertain() == 3
    assert unconfirmed.take_uncertain() == 0 and unconfirmed.count == 2

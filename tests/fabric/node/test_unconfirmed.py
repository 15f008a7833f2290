"""Outbox: what is kept after a sequence of sends, returned watermarks and broken connections, against a plain list."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fabric.node.unconfirmed import HOLD_S, Outbox

OVERHEAD = 60  # bytes that the outbox counts for each part beside its own


def parts(count: int) -> list[bytes]:
    return [b"part %d" % number for number in range(1, count + 1)]


def filled(count: int, *, max_bytes: int = 1_000_000) -> Outbox:
    outbox = Outbox(max_bytes=max_bytes)
    for part in parts(count):
        outbox.add(part)
    return outbox


def test_a_part_is_kept_until_its_watermark_came_back_and_the_hold_is_over() -> None:
    outbox = filled(3)
    outbox.confirmed(2, now=10.0)
    assert (outbox.unconfirmed, outbox.kept()) == (1, parts(3))
    outbox.tick(10.0 + HOLD_S - 0.001)
    assert outbox.kept() == parts(3)
    outbox.tick(10.0 + HOLD_S)
    assert outbox.kept() == [b"part 3"]


def test_watermarks_that_are_late_repeated_or_from_nowhere_change_nothing() -> None:
    outbox = filled(3)
    outbox.confirmed(2, now=0.0)
    for count in (2, 1, 0, -1, 4, 10**9):
        outbox.confirmed(count, now=0.0)
    assert outbox.unconfirmed == 1
    outbox.tick(100.0)
    assert outbox.kept() == [b"part 3"]


def test_an_empty_outbox_has_nothing_to_confirm() -> None:
    outbox = Outbox()
    outbox.confirmed(0, now=0.0)
    outbox.tick(100.0)
    assert (outbox.sent, outbox.unconfirmed, outbox.kept(), outbox.take_uncertain()) == (0, 0, [], 0)


def test_beyond_the_bound_the_oldest_is_given_up() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    outbox = filled(5, max_bytes=room_for_two)
    assert outbox.kept() == [b"part 4", b"part 5"]
    assert outbox.given_up == 3
    assert outbox.take_uncertain() == 3, "1, 2 and 3 can not be sent again"
    assert outbox.take_uncertain() == 0, "they are reported once"
    assert outbox.unconfirmed == 2


def test_what_was_confirmed_before_it_was_given_up_is_not_uncertain() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    outbox = filled(2, max_bytes=room_for_two)
    outbox.confirmed(2, now=0.0)
    outbox.add(b"part 3")
    assert outbox.kept() == [b"part 2", b"part 3"]
    assert outbox.take_uncertain() == 0


def test_a_part_larger_than_the_bound_is_given_up_at_once() -> None:
    outbox = Outbox(max_bytes=100)
    outbox.add(bytes(101))
    assert (outbox.kept(), outbox.unconfirmed, outbox.take_uncertain()) == ([], 1, 1)


def test_room_is_free_again_when_parts_are_let_go() -> None:
    room_for_two = 2 * (OVERHEAD + len(b"part 1"))
    outbox = filled(2, max_bytes=room_for_two)
    outbox.confirmed(2, now=0.0)
    outbox.tick(HOLD_S)
    assert outbox.kept() == []
    outbox.add(b"part 3")
    outbox.add(b"part 4")
    assert (outbox.kept(), outbox.given_up) == ([b"part 3", b"part 4"], 0)


class Twin(RuleBasedStateMachine):
    """Every part has its number as its content; the twin remembers by number, and recounts from scratch."""

    MAX_BYTES = 500
    HOLD = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(max_bytes=self.MAX_BYTES, hold_s=self.HOLD)
        self.now = 0.0
        self.sizes: list[int] = []
        self.kept: list[int] = []
        self.confirmed_at: dict[int, float] = {}
        self.overflowed: set[int] = set()
        self.reported: set[int] = set()

    @rule(size=st.sampled_from([4, 5, 40, 200, 600]))
    def add(self, size: int) -> None:
        self.sizes.append(size)
        number = len(self.sizes)
        self.outbox.add(number.to_bytes(4, "big").ljust(size, b"."))
        self.kept.append(number)
        while sum(self.sizes[each - 1] + OVERHEAD for each in self.kept) > self.MAX_BYTES:
            self.overflowed.add(self.kept.pop(0))

    @rule(count=st.integers(-1, 60), passed=st.sampled_from([0.0, 0.5, 1.0]))
    def confirm(self, count: int, passed: float) -> None:
        self.now += passed
        self.outbox.confirmed(count, self.now)
        if count <= len(self.sizes):
            for number in range(1, count + 1):
                self.confirmed_at.setdefault(number, self.now)

    @rule(passed=st.sampled_from([0.0, 1.0, 2.0]))
    def tick(self, passed: float) -> None:
        self.now += passed
        self.outbox.tick(self.now)
        over = {number for number, at in self.confirmed_at.items() if at + self.HOLD <= self.now}
        self.kept = [number for number in self.kept if number not in over - self.reported]

    @rule()
    def connection_breaks(self) -> None:
        lost = self.overflowed - self.confirmed_at.keys() - self.reported
        assert self.outbox.take_uncertain() == len(lost)
        self.reported |= lost

    @invariant()
    def keeps_what_the_twin_keeps_in_order(self) -> None:
        kept = [int.from_bytes(part[:4], "big") for part in self.outbox.kept()]
        assert kept == self.kept
        assert self.outbox.sent == len(self.sizes)
        assert self.outbox.unconfirmed == len(self.sizes) - len(self.confirmed_at.keys() | self.reported)

    @invariant()
    def nothing_unconfirmed_is_forgotten_unless_it_overflowed(self) -> None:
        unconfirmed = set(range(1, len(self.sizes) + 1)) - self.confirmed_at.keys()
        assert unconfirmed <= set(self.kept) | self.overflowed


TestTwin = Twin.TestCase
TestTwin.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_what_is_fresh_is_uncertain_only_once_it_is_counted() -> None:
    """`take_uncertain` is called without the lock: a part that is being added meanwhile must not get lost."""
    outbox = Outbox(max_bytes=200)
    outbox.fresh += [bytes(40)] * 5
    assert outbox.take_uncertain() == 0 and len(outbox.fresh) == 5
    assert len(outbox.kept()) == 2 and outbox.take_uncertain() == 3
    assert outbox.take_uncertain() == 0 and outbox.unconfirmed == 2

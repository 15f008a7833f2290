"""Interest: whatever is held and released, the wire carries every held filter, in the budget, with nothing to spare.

The reference is recomputed from scratch after every step; `Upstream` applies the effects one by one, as a socket would.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from fabric.errors import InvalidFilter
from fabric.node.interest import MAX_PREFIX_BYTES, Change, Interest
from fabric.topics import subscription_prefixes

ROOT = Path(__file__).resolve().parents[3]


class Upstream:
    """What a proxy holds for the node. Each effect is checked as it comes: nothing twice, nothing absent, no hole."""

    def __init__(self) -> None:
        self.prefixes: set[bytes] = set()

    def apply(self, change: Change, wanted: set[bytes]) -> None:
        for prefix in change.subscribe:
            assert prefix not in self.prefixes, f"{prefix!r} is subscribed twice"
            self.prefixes.add(prefix)
        for prefix in change.cancel:
            assert prefix in self.prefixes, f"{prefix!r} is cancelled but not held"
            self.prefixes.remove(prefix)
            self.require(wanted)

    def require(self, wanted: set[bytes]) -> None:
        for prefix in wanted:
            assert any(prefix.startswith(held) for held in self.prefixes), f"nothing carries {prefix!r}"


def wanted_prefixes(filters: Counter[str]) -> set[bytes]:
    return {prefix for topic_filter in filters for prefix in subscription_prefixes(topic_filter)}


def exact_prefixes(wanted: set[bytes]) -> set[bytes]:
    return {one for one in wanted if not any(one != other and one.startswith(other) for other in wanted)}


LEVELS = st.sampled_from(["", "a", "b", "ab", "é", "$s", "+"])


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(LEVELS, min_size=1, max_size=4))
    if draw(st.integers(0, 5)) == 0:
        levels[-1] = "#"
    return "/".join(levels) or "a"


def carriers(interest: Interest, topic_filter: str) -> set[bytes]:
    """The prefixes upstream that carry a held filter."""
    prefixes = subscription_prefixes(topic_filter)
    return {next(held for held in interest.wire() if prefix.startswith(held)) for prefix in prefixes}


def covers(interest: Interest, raw: bytes) -> bool:
    """Whether a topic with its NUL comes by what is held upstream."""
    return any(raw.startswith(held) for held in interest.wire())


class Holding(RuleBasedStateMachine):
    held = Bundle("held")

    @initialize(
        max_prefixes=st.sampled_from([1, 2, 3, 5, 8, 16, 1000, 1000]),
        max_bytes=st.sampled_from([1, 5, 12, 20, 40, None, None]),
    )
    def start(self, max_prefixes: int, max_bytes: int | None) -> None:
        self.max_prefixes, self.max_bytes = max_prefixes, max_bytes or 64 * 1024
        self.interest = Interest(max_prefixes, max_bytes)
        self.upstream = Upstream()
        self.filters: Counter[str] = Counter()

    def apply(self, change: Change) -> None:
        self.filters = +self.filters
        self.wanted = wanted_prefixes(self.filters)
        self.upstream.apply(change, self.wanted)

    @rule(target=held, topic_filter=filters())
    def hold(self, topic_filter: str) -> str:
        self.filters[topic_filter] += 1
        change = self.interest.hold(topic_filter)
        self.apply(change)
        assert set(change.needs) == carriers(self.interest, topic_filter)
        return topic_filter

    @rule(topic_filter=consumes(held))
    def release(self, topic_filter: str) -> None:
        self.filters[topic_filter] -= 1
        change = self.interest.release(topic_filter)
        self.apply(change)
        assert set(change.needs) == (carriers(self.interest, topic_filter) if topic_filter in self.filters else set())

    @rule(topic_filter=filters())
    def release_what_is_not_held(self, topic_filter: str) -> None:
        if topic_filter not in self.filters:
            before = self.interest.wire(), self.interest.stats()
            with pytest.raises(KeyError, match="is not held"):
                self.interest.release(topic_filter)
            assert (self.interest.wire(), self.interest.stats()) == before

    @invariant()
    def the_wire_is_right(self) -> None:
        wire, wanted = self.interest.wire(), wanted_prefixes(self.filters)
        exact = exact_prefixes(wanted)
        assert wire == self.upstream.prefixes
        assert wire == exact_prefixes(set(wire)), "one prefix on the wire covers another"
        assert len(wire) <= self.max_prefixes and sum(map(len, wire)) <= self.max_bytes
        assert self.interest.stats()["bytes"] == sum(map(len, wire))
        self.upstream.require(wanted)
        assert all(any(one.startswith(held) for one in wanted) for held in wire), "a prefix that nobody needs"
        stats = self.interest.stats()
        assert (stats["filters"], stats["exact"], stats["wire"]) == (len(self.filters), len(exact), len(wire))
        assert stats["coarse"] == len(wire - wanted)
        assert bool(stats["coarse"]) == (wire != exact)
        if len(exact) * 4 <= self.max_prefixes * 3 and sum(map(len, exact)) * 4 <= self.max_bytes * 3:
            assert wire == exact, "well under the budget, yet coarser than asked"

    def teardown(self) -> None:
        while self.filters:
            topic_filter = next(iter(self.filters))
            self.filters[topic_filter] -= 1
            self.apply(self.interest.release(topic_filter))
        assert self.interest.wire() == frozenset()
        assert {key for key, count in self.interest.stats().items() if count} == {"max_prefixes", "max_bytes"}


class TestHolding(Holding.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=120, stateful_step_count=50, deadline=None)


# --- without a budget in sight


def test_one_filter_is_its_prefixes_and_back() -> None:
    interest = Interest()
    assert interest.hold("a/#") == Change((b"a\0", b"a/"), (), (b"a\0", b"a/"))
    assert interest.release("a/#") == Change((), (b"a\0", b"a/"), ())


def test_a_filter_held_twice_is_sent_once_and_cancelled_at_the_last_release() -> None:
    interest = Interest()
    interest.hold("a/b")
    assert interest.hold("a/b") == Change((), (), (b"a/b\0",))
    assert interest.release("a/b") == Change((), (), (b"a/b\0",))
    assert interest.release("a/b") == Change((), (b"a/b\0",), ())


def test_two_filters_share_a_prefix() -> None:
    interest = Interest()
    interest.hold("a/+/c")
    assert interest.hold("a/+/d") == Change((), (), (b"a/",))
    assert interest.release("a/+/c") == Change((), (), ())
    assert interest.release("a/+/d") == Change((), (b"a/",), ())


def test_a_covered_prefix_is_not_sent() -> None:
    interest = Interest()
    interest.hold("a/+")
    assert interest.hold("a/b/c") == Change((), (), (b"a/",))
    assert interest.release("a/b/c") == Change((), (), ())


def test_a_shorter_prefix_replaces_those_it_covers_and_gives_them_back() -> None:
    interest = Interest()
    for topic_filter in ("a/b", "a/c/+", "ab"):
        interest.hold(topic_filter)
    change = interest.hold("a/+")
    assert change.subscribe == (b"a/",)
    assert set(change.cancel) == {b"a/b\0", b"a/c/"}
    change = interest.release("a/+")
    assert set(change.subscribe) == {b"a/b\0", b"a/c/"}
    assert change.cancel == (b"a/",)


def test_a_leading_wildcard_is_everything() -> None:
    interest = Interest()
    interest.hold("$fabric/x")
    assert interest.hold("+/temp") == Change((b"",), (b"$fabric/x\0",), (b"",))
    assert covers(interest, b"anything/at/all\0")
    assert interest.release("+/temp") == Change((b"$fabric/x\0",), (b"",), ())


def test_cover_is_by_whole_levels() -> None:
    interest = Interest()
    interest.hold("a/#")
    assert covers(interest, b"a\0")
    assert covers(interest, b"a/\0")
    assert covers(interest, b"a/b/c\0")
    assert not covers(interest, b"ab\0")
    assert not covers(interest, b"ab/c\0")
    assert not covers(interest, b"/a\0")


def test_an_invalid_filter_changes_nothing() -> None:
    interest = Interest()
    with pytest.raises(InvalidFilter):
        interest.hold("a/#/b")
    assert interest.stats()["filters"] == 0
    with pytest.raises(KeyError):
        interest.release("a/#/b")


@pytest.mark.parametrize("max_prefixes", [0, -1])
def test_a_budget_below_one_is_refused(max_prefixes: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Interest(max_prefixes)


# --- the budget


def test_20_000_filters_fit_a_budget_of_20_000_uncoarsened() -> None:
    interest = Interest(20_000)
    for number in range(20_000):
        assert not interest.hold(f"truck/{number:06}").cancel
    assert not interest.stats()["coarse"]
    assert len(interest.wire()) == 20_000


def test_beyond_the_budget_a_group_takes_the_place_of_its_members() -> None:
    interest = Interest(1000)
    interest.hold("car/1")
    for number in range(999):
        interest.hold(f"truck/{number:06}")
    assert not interest.stats()["coarse"]
    change = interest.hold("truck/000999")
    assert change.subscribe == (b"truck/",)
    assert len(change.cancel) == 999, "the newest was never sent"
    assert change.needs == (b"truck/",)
    assert interest.wire() == {b"truck/", b"car/1\0"}
    assert interest.stats()["coarse"]
    assert carriers(interest, "truck/000001") == {b"truck/"}


def test_the_deepest_level_is_coarsened_first_and_there_the_fullest_group() -> None:
    interest = Interest(15)
    for number in range(5):
        interest.hold(f"{number}/x")
        interest.hold(f"deep/small/{number}")
    for number in range(6):
        interest.hold(f"deep/large/{number}")
    others = {f"{number}/x\0".encode() for number in range(5)} | {f"deep/small/{n}\0".encode() for n in range(5)}
    assert interest.wire() == {b"deep/large/", *others}


def test_groups_are_merged_where_they_branch_not_at_every_level() -> None:
    interest = Interest(2)
    for name in ("a", "b", "c"):
        interest.hold(f"long/way/down/{name}/to/it")
    assert interest.wire() == {b"long/way/down/"}


def test_a_group_of_one_is_left_alone_as_coarsening_it_saves_nothing() -> None:
    interest = Interest(3)
    for name in ("deeper/than/b/1", "b/1", "b/2", "b/3"):
        interest.hold(name)
    assert interest.wire() == {b"deeper/than/b/1\0", b"b/"}


def test_in_the_end_it_is_everything() -> None:
    interest = Interest(100)
    for number in range(101):
        interest.hold(f"{number}/temp")
    assert interest.wire() == {b""}


def test_back_well_under_the_budget_the_wire_is_exact_again() -> None:
    interest = Interest(1000)
    for number in range(1001):
        interest.hold(f"truck/{number}")
    for number in range(1000, 750, -1):
        assert interest.release(f"truck/{number}") == Change((), (), ()), "too early: it would flap around the budget"
    change = interest.release("truck/750")
    assert len(change.subscribe) == 750
    assert change.cancel == (b"truck/",)
    assert not interest.stats()["coarse"]


def test_far_above_the_budget_it_is_planned_anew_when_half_is_gone() -> None:
    interest = Interest(1000)
    for number in range(2000):
        interest.hold(f"truck/{number % 5}/{number}")
        interest.hold(f"car/{number}")
    assert interest.wire() == {b"truck/%d/" % number for number in range(5)} | {b"car/"}
    for number in range(2000):
        interest.release(f"car/{number}")
        if number < 1200:
            interest.release(f"truck/{number % 5}/{number}")
    exact = [prefix for prefix in interest.wire() if prefix.endswith(b"\0")]
    assert len(exact) > 600, "most trucks are exact once the cars are gone"


def test_a_coarser_group_goes_with_its_last_member() -> None:
    interest = Interest(4)
    for name in ("a/1", "a/2", "b/1", "b/2", "c/1", "c/2"):
        interest.hold(name)
    assert interest.wire() == {b"a/1\0", b"a/2\0", b"b/", b"c/"}
    assert interest.release("b/1") == Change((), (), ())
    assert interest.release("b/2") == Change((), (b"b/",), ())
    assert not covers(interest, b"b/1\0")


def test_a_coarser_group_that_is_wanted_as_such_costs_nothing() -> None:
    interest = Interest(2)
    for name in ("a/1", "a/2", "a/3"):
        interest.hold(name)
    assert interest.stats()["coarse"]
    assert interest.hold("a/+") == Change((), (), (b"a/",))
    assert not interest.stats()["coarse"]
    assert interest.release("a/+").cancel == ()


def test_wavering_around_the_budget_is_cheap() -> None:
    """Effects are counted, not seconds: one filter more and less, 1,000 times, at every size around the budget."""
    for size in range(95, 106):
        interest = Interest(100)
        for number in range(size):
            interest.hold(f"truck/{number}")
        effects = 0
        for _ in range(1000):
            for change in (interest.hold("truck/more"), interest.release("truck/more")):
                effects += len(change.subscribe) + len(change.cancel)
        assert effects <= 2000 + 2 * 100


@pytest.mark.parametrize("shape", ["{0}", "truck/{0}", "truck/{0}/temp", "{1}/{2}/{0}", "x/{2}/{0}/#"])
def test_effects_stay_few_for_many_filters(shape: str) -> None:
    """Amortised: each filter is sent and cancelled once, and coarser groups are fewer than filters."""
    interest = Interest(100)
    names = [shape.format(number, number % 7, number % 300) for number in range(5000)]
    effects = 0
    for change in [interest.hold(name) for name in names] + [interest.release(name) for name in names]:
        effects += len(change.subscribe) + len(change.cancel)
    assert effects <= 2 * len(names)
    assert interest.wire() == frozenset()


def test_coarsening_makes_room_for_many_filters_at_once() -> None:
    interest = Interest(800)
    changes = [interest.hold(f"r/{number // 2}/{number % 2}") for number in range(1400)]
    assert sum(bool(change.cancel) for change in changes) <= 600 // 50


def test_the_wire_is_planned_anew_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    planned_at: list[int] = []
    refine = Interest._refine

    def counted(interest: Interest) -> None:
        planned_at.append(interest.stats()["exact"])
        refine(interest)

    monkeypatch.setattr(Interest, "_refine", counted)
    interest = Interest(100)
    for number in range(6400):
        interest.hold(f"truck/{number}")
    for number in range(6400):
        interest.release(f"truck/{number}")
    assert planned_at == [3200, 1600, 800, 400, 200, 100]


def test_the_order_of_effects_does_not_hang_on_the_hash_seed() -> None:
    script = """
from fabric.node.interest import Interest
interest = Interest(5)
names = [f"{number % 3}/{number % 4}/{number}" for number in range(20)]
print([interest.hold(name) for name in names] + [interest.release(name) for name in names])
"""

    def effects(seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert effects("1") == effects("2") == effects("3")


# --- bytes


def size_of(interest: Interest) -> int:
    return sum(map(len, interest.wire()))


def test_the_budget_of_bytes_follows_that_of_number() -> None:
    assert Interest().stats()["max_bytes"] == 64 * 1024
    assert Interest(20_000).stats()["max_bytes"] == 1_280_000
    with pytest.raises(ValueError, match="invalid max_bytes 0: expected at least 1"):
        Interest(1_000, 0)


def test_long_names_are_coarsened_where_that_saves_most() -> None:
    """Sixty of 2 kB below one group, each by itself in a group of its level, and ten short ones that stay."""
    interest = Interest()
    short = [f"price/{number}" for number in range(10)]
    for topic in (*short, *(f"news/{number}/{'x' * 2_000}" for number in range(60))):
        interest.hold(topic)
    assert size_of(interest) <= 64 * 1024
    assert interest.wire() >= {f"{topic}\0".encode() for topic in short}
    assert all(prefix.startswith((b"price/", b"news/")) for prefix in interest.wire())
    assert all(covers(interest, f"news/{number}/{'x' * 2_000}\0".encode()) for number in range(60))
    for number in range(60):
        interest.release(f"news/{number}/{'x' * 2_000}")
    assert interest.wire() == {f"{topic}\0".encode() for topic in short}


@pytest.mark.parametrize(
    ("topic_filter", "wire"),
    [
        ("a/b/" + "x" * (MAX_PREFIX_BYTES - 5), "a/b/" + "x" * (MAX_PREFIX_BYTES - 5) + "\0"),
        ("a/b/" + "x" * (MAX_PREFIX_BYTES - 4), "a/b/"),
        ("a/b/" + "x" * 60_000 + "/c", "a/b/"),
        ("a/b/" + "x" * 60_000 + "/#", "a/b/"),
        ("a/b/" + "x" * 60_000 + "/+/c", "a/b/"),
        ("x" * 60_000, ""),
        ("x/" * 150 + "y" * 60_000, "x/" * 150),
        ("é" * (MAX_PREFIX_BYTES // 2) + "/b", ""),
    ],
)
def test_what_is_too_long_to_be_sent_is_held_by_the_group_above_it(topic_filter: str, wire: str) -> None:
    interest = Interest()
    change = interest.hold(topic_filter)
    assert change.subscribe == change.needs == (wire.encode(),)
    assert interest.hold(topic_filter).needs == (wire.encode(),)
    assert all(prefix.startswith(wire.encode()) for prefix in subscription_prefixes(topic_filter))
    interest.release(topic_filter)
    assert interest.release(topic_filter).cancel == (wire.encode(),) and not interest.wire()


def test_two_that_are_too_long_share_their_group_until_both_are_released() -> None:
    interest = Interest()
    first, second = ("a/" + letter * 10_000 for letter in "xy")
    interest.hold(first)
    assert interest.hold(second).subscribe == ()
    interest.hold("a/short")
    assert not interest.release(first).cancel and covers(interest, f"{second}\0".encode())
    assert interest.release(second) == Change((b"a/short\0",), (b"a/",), ())


def test_a_browser_that_sends_6_megabytes_of_filters_costs_64_kilobytes() -> None:
    interest = Interest()
    for number in range(100):
        interest.hold(f"news/{number}" + "x" * 65_000)
    assert interest.wire() == {b"news/"}

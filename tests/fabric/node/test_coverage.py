"""Coverage: what a node's acks say, against a mesh in which markers are lost and proxies come and go.

`Promise` drives a node and its proxies at random and remembers who answered which marker: no ack may name
anyone who did not answer one sent after the subscription, none may come twice, and none may fail to come.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import count

from fabric.node.coverage import (
    MAX_ATTEMPTS,
    MAX_WANTING,
    REPEAT_FIRST_S,
    REPEAT_LAST_S,
    Ack,
    Acked,
    Coverage,
    CoverageEvent,
    Effect,
    Renewed,
    SendMarker,
)
from fabric.protocol.retained import Batch
from fabric.protocol.views import PeerView, Record, View

TIMEOUT_S = 5.0
SEEDS = int(os.environ.get("SEEDS", "500"))


class Proxies:
    """Proxies by name, and what each says of the others; the node is at p1."""

    def __init__(self, *names: str) -> None:
        self.runs = dict.fromkeys(names, 1)
        self.states = dict.fromkeys(names, "member")
        self.linked: dict[tuple[str, str], int] = {}
        for name in names:
            self.link_all(name)

    def link_all(self, name: str) -> None:
        for other in self.runs.keys() - {name}:
            self.linked[name, other] = self.runs[other]
            self.linked[other, name] = self.runs[name]

    def restart(self, name: str, state: str = "member") -> None:
        self.runs[name] += 1
        self.states[name] = state
        self.linked = {pair: run for pair, run in self.linked.items() if pair[0] != name}

    def record(self, name: str, run: int | None = None) -> Record:
        return Record(name, f"run{run or self.runs[name]}", f"ipc://{name}")

    def view(self, name: str) -> View:
        peers = [
            PeerView(
                self.record(other, self.linked.get((name, other))),
                (name, other) in self.linked,
                False,
                self.states[other] == "joining",
            )
            for other in sorted(self.runs.keys() - {name})
        ]
        return View(self.record(name), self.states[name], tuple(peers))


class Node:
    """One coverage and the mesh around it. Its clock starts at 0, its nonces count."""

    def __init__(self, *names: str, timeout_s: float = TIMEOUT_S) -> None:
        serial = count(1)
        self.proxies = Proxies(*(names or ("p1", "p2", "p3")))
        self.coverage = Coverage(lambda size: next(serial).to_bytes(size, "big"), ack_timeout_s=timeout_s)
        self.now = 0.0
        self.nonce = b""
        self.subscriptions = count(1)

    def subscribe(self) -> int:
        """Subscribe to a new prefix; return the subscription."""
        self.note(self.coverage.prefixes_sent(self.now))
        subscription = next(self.subscriptions)
        assert self.coverage.ack_wanted(subscription, self.coverage.generation, self.now) == []
        return subscription

    def note(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, SendMarker):
                self.nonce = effect.nonce
        return effects

    def answer(self, *names: str, nonce: bytes | None = None) -> list[Effect]:
        """These proxies answer the newest marker; the own one at its out."""
        effects: list[Effect] = []
        for name in names:
            leg = "out" if name == "p1" else "link"
            effects += self.coverage.marker_answered(nonce or self.nonce, leg, self.proxies.view(name), self.now)
        return effects

    def announce(self, name: str = "p1") -> list[Effect]:
        return self.coverage.proxy_announced(self.proxies.view(name), self.now)

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        self.now += seconds
        return self.note(self.coverage.tick(self.now))

    def covered_by_all(self) -> Node:
        self.subscribe()
        self.answer(*self.proxies.runs)
        return self


def acks(effects: list[Effect]) -> list[Ack]:
    return [effect.ack for effect in effects if isinstance(effect, Acked)]


def ack(effects: list[Effect]) -> Ack:
    (found,) = acks(effects)
    return found


def event(effects: list[Effect]) -> CoverageEvent:
    (found,) = (effect for effect in effects if isinstance(effect, CoverageEvent))
    return found


# --- acks


def test_an_ack_comes_when_everyone_has_answered() -> None:
    node = Node()
    node.subscribe()
    node.now = 0.2
    assert node.answer("p1", "p2") == []
    effects = node.answer("p3")
    assert event(effects) == CoverageEvent(("p1", "p2", "p3"), (), (), ("p1", "p2", "p3"))
    assert ack(effects) == Ack(True, ("p1", "p2", "p3"), (), 0.2)


def test_the_order_of_the_answers_does_not_matter() -> None:
    node = Node()
    node.subscribe()
    assert node.answer("p3", "p2") == []
    assert ack(node.answer("p1")).covered == ("p1", "p2", "p3")


def test_the_own_proxy_must_have_answered_at_its_out() -> None:
    """An answer of its link does not say which one is the own."""
    node = Node("p1")
    node.subscribe()
    own = node.proxies.view("p1")
    assert node.coverage.marker_answered(node.nonce, "link", own, 0.0) == []
    assert ack(node.coverage.marker_answered(node.nonce, "out", own, 0.0)).ok


def test_one_marker_speaks_for_everything_before_it() -> None:
    node = Node()
    first, second = node.subscribe(), node.subscribe()
    effects = node.answer("p1", "p2", "p3")
    assert [effect.subscription for effect in effects if isinstance(effect, Acked)] == [first, second]


def test_a_marker_says_nothing_of_what_was_sent_after_it() -> None:
    node = Node()
    first = node.subscribe()
    nonce = node.nonce
    node.subscribe()
    effects = node.answer("p1", "p2", "p3", nonce=nonce)
    assert [effect.subscription for effect in effects if isinstance(effect, Acked)] == [first]


def test_what_is_acked_already_needs_no_marker() -> None:
    node = Node().covered_by_all()
    effects = node.coverage.ack_wanted(7, node.coverage.generation, 1.0)
    assert effects == [Acked(7, Ack(True, ("p1", "p2", "p3"), (), 0.0))]


def test_a_stranger_to_the_own_proxy_is_waited_for_when_another_links_it() -> None:
    node = Node()
    node.proxies.linked = {("p1", "p2"): 1, ("p2", "p1"): 1, ("p2", "p3"): 1}
    node.subscribe()
    assert node.answer("p1", "p2") == []
    assert ack(node.answer("p3")).covered == ("p1", "p2", "p3")


def test_who_is_known_and_not_linked_is_missing() -> None:
    node = Node()
    node.proxies.linked = {("p1", "p2"): 1, ("p2", "p1"): 1}
    node.subscribe()
    assert ack(node.answer("p1", "p2")) == Ack(True, ("p1", "p2"), ("p3",), 0.0)


def test_who_joins_and_is_not_linked_is_neither_waited_for_nor_missing() -> None:
    node = Node()
    node.proxies.restart("p3", "joining")
    node.proxies.linked = {("p1", "p2"): 1, ("p2", "p1"): 1}
    node.subscribe()
    assert ack(node.answer("p1", "p2")) == Ack(True, ("p1", "p2"), (), 0.0)


def test_who_joins_and_is_linked_is_waited_for() -> None:
    node = Node()
    node.proxies.restart("p3", "joining")
    node.proxies.link_all("p3")
    node.subscribe()
    assert node.answer("p1", "p2") == []
    assert ack(node.answer("p3")).covered == ("p1", "p2", "p3")


def test_answers_of_another_run_than_the_linked_one_do_not_count() -> None:
    node = Node()
    node.proxies.restart("p3")
    node.subscribe()
    assert node.answer("p1", "p2", "p3") == [], "p1 and p2 call the earlier run linked"
    node.proxies.link_all("p3")
    node.tick(REPEAT_FIRST_S)
    assert ack(node.answer("p1", "p2", "p3")).ok


def test_a_proxy_that_is_joining_acks_nothing() -> None:
    node = Node("p1")
    node.proxies.states["p1"] = "joining"
    node.subscribe()
    assert node.answer("p1") == []
    node.proxies.states["p1"] = "member"
    node.tick(REPEAT_FIRST_S)
    assert ack(node.answer("p1")) == Ack(True, ("p1",), (), REPEAT_FIRST_S)


def test_nor_one_that_left_before_it_was_a_member() -> None:
    node = Node("p1")
    node.proxies.states["p1"] = "gone"
    node.subscribe()
    assert node.answer("p1") == []


def test_one_that_drains_still_does() -> None:
    node = Node("p1")
    node.proxies.states["p1"] = "draining"
    node.subscribe()
    assert ack(node.answer("p1")).ok


# --- lost markers


def test_a_marker_is_repeated_with_a_new_nonce_after_pauses_that_grow_to_a_limit() -> None:
    node = Node()
    node.subscribe()
    pauses, nonces, before = [], {node.nonce}, 0.0
    for _ in range(9):
        assert any(node.tick(0.01) for _ in range(200))
        nonces.add(node.nonce)
        pauses.append(round(node.now - before, 2))
        before = node.now
    assert pauses[1:] == sorted(pauses[1:])
    assert REPEAT_FIRST_S <= pauses[0] <= REPEAT_FIRST_S + 0.02
    assert REPEAT_LAST_S <= pauses[-1] <= REPEAT_LAST_S + 0.02
    assert len(nonces) == 10


def test_each_marker_is_judged_by_its_own_answers() -> None:
    node = Node()
    node.subscribe()
    node.answer("p1", "p2")
    node.tick(REPEAT_FIRST_S)
    assert node.answer("p3") == [], "half of this and half of that"
    assert ack(node.answer("p1", "p2")).ok


def test_nothing_is_sent_when_nobody_waits() -> None:
    node = Node().covered_by_all()
    assert node.tick(60.0) == []


def test_only_so_many_markers_are_kept_open() -> None:
    node = Node()
    node.subscribe()
    first = node.nonce
    for _ in range(MAX_ATTEMPTS):
        node.subscribe()
    assert node.answer("p1", "p2", "p3", nonce=first) == []
    assert len(acks(node.answer("p1", "p2", "p3"))) == MAX_ATTEMPTS + 1


# --- deadlines


def test_at_the_deadline_who_is_silent_is_missing_and_covered_when_it_answers() -> None:
    node = Node()
    node.subscribe()
    node.answer("p1", "p2")
    assert acks(node.tick(TIMEOUT_S - 0.01)) == []
    node.answer("p1", "p2")
    effects = node.tick(0.01)
    assert ack(effects) == Ack(True, ("p1", "p2"), ("p3",), TIMEOUT_S)
    assert any(isinstance(effect, SendMarker) for _ in range(20) for effect in node.tick(0.1))
    assert event(node.answer("p1", "p2", "p3")).gained == ("p3",)


def test_the_attempt_that_most_answered_counts() -> None:
    """The newest marker is on its way still; who has answered one after the subscription is covered."""
    node = Node()
    node.subscribe()
    node.answer("p1")
    node.tick(REPEAT_FIRST_S)
    node.answer("p1", "p2")
    node.tick(TIMEOUT_S - REPEAT_FIRST_S - 0.001)
    node.answer("p1")
    assert ack(node.tick(0.002)).covered == ("p1", "p2")


def test_an_answer_to_an_older_marker_does_not_cover_what_is_acked() -> None:
    node = Node()
    node.subscribe()
    old = node.nonce
    node.answer("p1", "p2")
    node.subscribe()
    node.answer("p1", "p2")
    assert [found.covered for found in acks(node.tick(TIMEOUT_S))] == [("p1", "p2")] * 2
    assert node.answer("p3", nonce=old) == [], "p3 has not seen the second subscription"
    assert node.coverage.covered == ("p1", "p2")


def test_nobody_answered() -> None:
    node = Node()
    node.subscribe()
    found = ack(node.tick(TIMEOUT_S))
    assert (found.ok, found.covered, found.error) == (False, (), "no proxy answered within 5 s")
    assert acks(node.tick(TIMEOUT_S)) == []


def test_still_joining_at_the_deadline() -> None:
    node = Node("p1")
    node.proxies.states["p1"] = "joining"
    node.subscribe()
    node.answer("p1")
    found = ack(node.tick(TIMEOUT_S))
    assert (found.ok, found.error) == (False, "the proxy is still joining the mesh after 5 s")


def test_a_subscription_that_ends_is_told_so_once() -> None:
    node = Node()
    subscription = node.subscribe()
    node.now = 1.0
    assert node.coverage.subscription_ended(subscription, 1.0, "why") == [
        Acked(subscription, Ack(False, (), (), 1.0, "why"))
    ]
    assert node.coverage.subscription_ended(subscription, 1.0, "why") == []
    assert acks(node.answer("p1", "p2", "p3")) == []


def test_all_that_wait_are_told_at_the_end() -> None:
    node = Node()
    subscriptions = [node.subscribe(), node.subscribe()]
    effects = node.coverage.node_ended(2.0, "closed")
    assert [effect.subscription for effect in effects if isinstance(effect, Acked)] == subscriptions
    assert not any(found.ok for found in acks(effects))


# --- what changes after the ack


def test_a_link_that_breaks_is_lost_and_asked_for_when_it_is_back() -> None:
    node = Node().covered_by_all()
    del node.proxies.linked["p1", "p2"]
    effects = node.announce()
    assert event(effects) == CoverageEvent(("p1", "p3"), ("p2",), ("p2",), ())
    assert node.announce() == [], "told once"
    node.proxies.linked["p1", "p2"] = 1
    assert node.announce() == [], "linked is not covered"
    assert node.tick() == [SendMarker(node.nonce)]
    assert event(node.answer("p1", "p2", "p3")) == CoverageEvent(("p1", "p2", "p3"), (), (), ("p2",))


def test_another_run_of_a_peer_is_not_covered() -> None:
    node = Node().covered_by_all()
    node.proxies.restart("p2")
    node.proxies.link_all("p2")
    assert event(node.announce()) == CoverageEvent(("p1", "p3"), ("p2",), ("p2",), ())
    node.tick()
    assert event(node.answer("p1", "p2", "p3")).gained == ("p2",)


def test_a_newcomer_is_asked_for_when_it_is_linked() -> None:
    node = Node("p1").covered_by_all()
    node.proxies.runs["p2"], node.proxies.states["p2"] = 1, "joining"
    assert node.announce() == [] and node.tick() == []
    node.proxies.link_all("p2")
    assert event(node.announce()).missing == ("p2",)
    node.tick()
    assert event(node.answer("p1", "p2")).gained == ("p2",)


def test_who_has_left_is_lost_and_not_missing() -> None:
    node = Node().covered_by_all()
    del node.proxies.runs["p3"]
    assert event(node.announce()) == CoverageEvent(("p1", "p2"), (), ("p3",), ())


def test_announcements_of_others_say_nothing() -> None:
    node = Node().covered_by_all()
    node.proxies.linked.clear()
    assert node.announce("p2") == []


def test_announcements_say_nothing_before_the_own_proxy_is_known() -> None:
    assert Node().announce() == []


def test_another_run_of_the_own_proxy_covers_nothing() -> None:
    node = Node().covered_by_all()
    node.proxies.restart("p1")
    node.proxies.link_all("p1")
    assert event(node.announce()).lost == ("p1", "p2", "p3")


def test_who_has_answered_and_is_lost_since_must_answer_again() -> None:
    node = Node().covered_by_all()
    node.subscribe()
    node.answer("p1", "p2")
    node.proxies.restart("p2")
    del node.proxies.linked["p1", "p2"]
    node.announce()
    assert node.answer("p3") == [], "p2 has answered, but in a run that has ended"
    node.proxies.link_all("p2")
    node.tick(REPEAT_FIRST_S)
    assert ack(node.answer("p1", "p2", "p3")).ok


def test_a_lost_proxy_takes_all_coverage_with_it() -> None:
    node = Node().covered_by_all()
    effects = node.coverage.proxy_lost(1.0)
    assert event(effects) == CoverageEvent((), ("p1", "p2", "p3"), ("p1", "p2", "p3"), ())
    old = node.nonce
    assert node.coverage.ack_wanted(9, 1, 1.0) == [], "what was acked is not"
    node.now = 1.0
    node.tick()
    assert node.answer("p1", "p2", "p3", nonce=old) == [], "an answer to a marker before it"
    assert ack(node.answer("p1", "p2", "p3")).ok


def test_a_switch_keeps_what_is_covered_and_asks_anew() -> None:
    node = Node().covered_by_all()
    node.coverage.proxy_switched(1.0)
    assert node.coverage.covered == ("p1", "p2", "p3")
    node.now = 1.0
    assert node.tick() == [SendMarker(node.nonce)]
    assert node.answer("p1", "p2", "p3") == []


# --- the promise


# --- retained values


def batch(nonce: bytes, place: int = 0, *, last: bool = True) -> Batch:
    return Batch(nonce, place, last, (), ())


class Wishing(Node):
    """A node whose subscriptions want values. Each of its proxies has one batch, unless told otherwise."""

    def want(self, *prefixes: bytes) -> int:
        """Subscribe as the engine does: the wish first, and then the markers of this turn."""
        subscription = next(self.subscriptions)
        generation = self.coverage.generation + 1
        self.coverage.ack_wanted(subscription, generation, self.now, prefixes)
        self.sent = self.markers(self.coverage.prefixes_sent(self.now))
        return subscription

    def markers(self, effects: list[Effect]) -> list[SendMarker]:
        return [effect for effect in self.note(effects) if isinstance(effect, SendMarker)]

    def batches(self, *names: str, nonce: bytes | None = None) -> None:
        for _ in names:
            assert self.coverage.batch_heard(batch(nonce or self.nonce), self.now)


def acked(effects: list[Effect]) -> list[int]:
    return [effect.subscription for effect in effects if isinstance(effect, Acked) and effect.ack.ok]


def test_an_ack_waits_for_the_values_of_all_who_answered() -> None:
    node = Wishing()
    wanted = node.want(b"a/")
    assert node.sent == [SendMarker(node.nonce, (b"a/",))]
    node.batches("p1", "p2")
    assert node.answer("p1", "p2", "p3") == [], "whose batch is missing is not known"
    node.tick(1.0)
    node.batches("p1", "p2", "p3")
    assert acked(node.answer("p1", "p2", "p3")) == [wanted]
    assert not node.coverage.wants


def test_several_batches_of_several_proxies_may_come_in_between_each_other() -> None:
    node = Wishing()
    wanted = node.want(b"a/")
    for place, last in ((0, False), (0, False), (1, True), (1, False), (0, True)):
        assert node.coverage.batch_heard(batch(node.nonce, place, last=last), 0.0)
    assert node.answer("p1", "p2", "p3") == [], "of the one that has at least three, the third is missing"
    node = Wishing()
    wanted = node.want(b"a/")
    for place, last in ((0, False), (0, False), (1, True), (1, False), (0, True), (2, True)):
        assert node.coverage.batch_heard(batch(node.nonce, place, last=last), 0.0)
    assert acked(node.answer("p1", "p2", "p3")) == [wanted]


def test_a_lost_batch_is_asked_for_again() -> None:
    node = Wishing("p1")
    wanted = node.want(b"a/")
    node.coverage.batch_heard(batch(node.nonce, 1), 0.0)
    assert node.answer("p1") == []
    first = node.nonce
    node.tick(0.9)
    assert node.nonce == first
    again = node.markers(node.coverage.tick(1.0))
    assert [marker.wanted for marker in again] == [(b"a/",)]
    node.batches("p1")
    assert acked(node.answer("p1")) == [wanted]


def test_what_comes_is_not_asked_for_again_meanwhile() -> None:
    node = Wishing("p1")
    node.want(b"a/")
    nonce = node.nonce
    for place in range(30):
        assert node.coverage.batch_heard(batch(nonce, place, last=False), node.now)
        assert not [each for each in node.markers(node.coverage.tick(node.now)) if each.wanted]
        node.now += 0.1


def test_a_batch_of_a_marker_that_is_not_open_is_not_taken() -> None:
    node = Wishing("p1")
    assert not node.coverage.batch_heard(batch(b"x"), 0.0)
    node.subscribe()
    assert not node.coverage.batch_heard(batch(node.nonce), 0.0), "it wanted none"
    node.want(b"a/")
    nonce = node.nonce
    node.coverage.proxy_lost(0.0)
    assert not node.coverage.batch_heard(batch(nonce), 0.0)


def test_what_is_covered_already_is_asked_for_all_the_same() -> None:
    node = Wishing("p1")
    node.covered_by_all()
    assert node.coverage.ack_wanted(7, 1, 0.0, (b"a/",)) == []
    assert [marker.wanted for marker in node.markers(node.coverage.prefixes_sent(0.0))] == [(b"a/",)]
    node.batches("p1")
    assert acked(node.answer("p1")) == [7]


def test_who_wants_nothing_is_acked_meanwhile_and_nothing_is_asked_for_twice() -> None:
    node = Wishing("p1")
    wanted = node.want(b"a/")
    nonce = node.nonce
    plain = node.subscribe()
    assert node.nonce != nonce
    assert acked(node.answer("p1")) == [plain]
    assert node.coverage.batch_heard(batch(nonce), 0.0), "that marker is open still"
    assert acked(node.answer("p1", nonce=nonce)) == [wanted]


def test_a_marker_that_wants_speaks_for_those_who_want_nothing() -> None:
    node = Wishing("p1")
    plain = node.subscribe()
    wanted = node.want(b"a/")
    node.batches("p1")
    assert acked(node.answer("p1")) == [plain, wanted]


def test_at_the_deadline_the_values_of_those_who_answered_will_do() -> None:
    node = Wishing()
    wanted = node.want(b"a/")
    node.batches("p1", "p2")
    node.answer("p1", "p2")
    effects = node.tick(TIMEOUT_S)
    assert acked(effects) == [wanted] and ack(effects).missing == ("p3",)


def test_at_the_deadline_without_all_batches_nothing_is_promised() -> None:
    node = Wishing("p1")
    node.want(b"a/")
    node.answer("p1")
    assert not ack(node.tick(TIMEOUT_S)).ok
    assert not node.coverage.wants


def test_at_the_deadline_each_is_judged_by_a_marker_that_asked_for_it() -> None:
    node = Wishing("p1")
    first = node.want(b"a/")
    node.batches("p1")
    node.proxies.states["p1"] = "joining"
    node.answer("p1")
    node.proxies.states["p1"] = "member"
    node.tick(0.3)
    second = node.want(b"b/")
    node.batches("p1")
    effects = node.answer("p1") + node.tick(TIMEOUT_S)
    assert acked(effects) == [second]
    assert {effect.subscription for effect in effects if isinstance(effect, Acked) and not effect.ack.ok} == {first}


def test_what_does_not_fit_one_marker_has_its_turn() -> None:
    node = Wishing("p1")
    groups = [(b"%04d\0" % each, b"%04d/" % each) for each in range(5_000)]
    for subscription, prefixes in enumerate(groups):
        node.coverage.ack_wanted(subscription, 1, 0.0, prefixes)
    markers = node.markers(node.coverage.prefixes_sent(0.0))
    assert len(markers) == MAX_WANTING
    told = list[int]()
    asked = 0
    while markers:
        marker = markers.pop(0)
        asked += len(marker.wanted)
        node.batches("p1", nonce=marker.nonce)
        effects = node.answer("p1", nonce=marker.nonce)
        told += acked(effects)
        markers += node.markers(effects)
        assert len(markers) <= MAX_WANTING
    assert sorted(told) == list(range(5_000)) and asked == 2 * len(groups)


def test_many_other_markers_do_not_close_one_that_wants() -> None:
    node = Wishing("p1")
    wanted = node.want(b"a/")
    nonce = node.nonce
    for _ in range(2 * MAX_ATTEMPTS):
        node.subscribe()
    node.batches("p1", nonce=nonce)
    assert wanted in acked(node.answer("p1", nonce=nonce))


def renewed(effects: list[Effect]) -> list[int]:
    return [effect.subscription for effect in effects if isinstance(effect, Renewed)]


def wanting(*names: str) -> tuple[Wishing, int]:
    """A node at these proxies with one subscription that wants values, and has its ack."""
    node = Wishing(*names)
    wanted = node.want(b"a/")
    node.batches(*node.proxies.runs)
    assert acked(node.answer(*node.proxies.runs)) == [wanted]
    return node, wanted


def test_after_a_time_without_its_proxy_a_node_asks_once_more_without_another_ack() -> None:
    node, wanted = wanting()
    node.coverage.proxy_lost(node.now)
    assert [marker.wanted for marker in node.markers(node.tick(0.3))] == [(b"a/",)]
    node.batches("p1", "p2", "p3")
    effects = node.answer("p1", "p2", "p3")
    assert renewed(effects) == [wanted] and not acks(effects) and not node.coverage.wants


def test_so_it_does_for_a_proxy_that_is_linked_again_or_new() -> None:
    node, wanted = wanting()
    for change in (lambda: node.proxies.linked.pop(("p1", "p2")), lambda: node.proxies.restart("p2")):
        change()
        node.announce()
        assert not node.coverage.wants, "it cannot be asked yet"
        node.proxies.link_all("p2")
        node.announce()
        assert [marker.wanted for marker in node.markers(node.tick())] == [(b"a/",)]
        node.announce()
        assert not node.markers(node.tick()), "once is enough"
        node.batches("p1", "p2", "p3")
        assert renewed(node.answer("p1", "p2", "p3")) == [wanted]
        node.announce()
        assert not node.coverage.wants


def test_what_is_asked_for_once_more_is_asked_for_until_it_comes_or_nobody_wants_it() -> None:
    node, wanted = wanting("p1")
    node.coverage.proxy_lost(node.now)
    for _ in range(5):
        assert not renewed(node.tick(TIMEOUT_S)) and node.coverage.wants
    node.coverage.proxy_lost(node.now)
    node.tick(0.3)
    node.batches("p1")
    assert renewed(node.answer("p1")) == [wanted]
    node.coverage.proxy_lost(node.now)
    assert node.coverage.subscription_ended(wanted, node.now, "over") == []
    assert not node.coverage.wants
    node.coverage.proxy_lost(node.now)
    assert not node.coverage.wants


class Promise:
    """Markers and answers in any order, some lost; proxies that restart, link and unlink; deadlines.

    Who answered a marker is written down when its answer arrives: name, run, and the generation of the marker.
    """

    TIMEOUT_S = 1.0

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.node = Node(timeout_s=self.TIMEOUT_S)
        self.promised = 0
        self.generation: dict[bytes, int] = {}
        self.under_way: list[tuple[bytes, str, View]] = []
        self.answered: dict[str, dict[str, int]] = {}
        self.waiting: dict[int, tuple[int, float]] = {}
        self.covered: tuple[str, ...] = ()

    def happen(self, steps: int) -> None:
        chance, peers = self.chance, ("p2", "p3")
        happenings: list[tuple[int, Callable[[], None]]] = [
            (35, lambda: self.a_marker_reaches({name for name in ("p1", *peers) if chance.random() < 0.6})),
            (15, self.an_answer_arrives),
            (5, self.an_answer_is_lost),
            (15, self.subscribes),
            (5, lambda: self.wants(back=chance.randint(0, 2))),
            (3, self.unsubscribes),
            (15, lambda: self.time_passes(chance.choice([0.0, 0.1, 0.5, 1.0]))),
            (1, self.loses_its_proxy),
            (3, lambda: self.node.proxies.restart(chance.choice(peers), "joining")),
            (3, lambda: self.links(chance.choice(("p1", *peers)))),
            (2, lambda: self.unlinks(chance.choice(peers))),
            (5, self.announces),
        ]
        for _ in range(steps):
            chance.choices([act for _, act in happenings], [weight for weight, _ in happenings])[0]()
            self.everyone_is_told_in_time()

    @property
    def coverage(self) -> Coverage:
        return self.node.coverage

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendMarker(nonce):
                    self.generation[nonce] = self.coverage.generation
                case CoverageEvent(covered, missing, lost, gained):
                    assert set(lost) <= set(self.covered) and set(gained) <= set(covered)
                    assert set(covered) == (set(self.covered) - set(lost)) | set(gained)
                    assert not set(covered) & set(missing)
                    self.covered = covered
                case Acked(subscription, found):
                    generation, since = self.waiting.pop(subscription)
                    self.check(found, generation, since)

    def check(self, found: Ack, generation: int, since: float) -> None:
        if not found.ok:
            assert found.error and not found.covered
            return
        self.promised = max(self.promised, generation)
        assert found.error is None and "p1" in found.covered
        assert not set(found.covered) & set(found.missing)
        self.check_covered(generation)

    def check_covered(self, generation: int) -> None:
        for name in self.coverage.covered:
            newest = max(self.answered.get(name, {}).values(), default=-1)
            assert newest >= generation, f"{name} has not answered a marker after subscription {generation}"

    # marker and answer

    def a_marker_reaches(self, names: set[str]) -> None:
        """One of the newest markers reaches some proxies, and they answer. What p1 says comes in order, at once."""
        nonces = list(self.generation)[-self.chance.randint(1, 3) :]
        for name in sorted(names if nonces else ()):
            self.under_way.append((nonces[0], name, self.node.proxies.view(name)))
            if name == "p1" or self.chance.random() < 0.7:
                self.an_answer_arrives(-1)

    def an_answer_arrives(self, at: int | None = None) -> None:
        if not self.under_way:
            return
        nonce, name, view = self.under_way.pop(self.chance.randrange(len(self.under_way)) if at is None else at)
        runs = self.answered.setdefault(name, {})
        run = view.record.incarnation
        runs[run] = max(runs.get(run, -1), self.generation.get(nonce, -1))
        leg = "out" if name == "p1" else "link"
        self.perform(self.coverage.marker_answered(nonce, leg, view, self.node.now))

    def an_answer_is_lost(self) -> None:
        if self.under_way:
            self.under_way.pop()

    # the node

    def subscribes(self) -> None:
        self.perform(self.coverage.prefixes_sent(self.node.now))
        self.wants(back=0)

    def wants(self, *, back: int) -> None:
        subscription = next(self.node.subscriptions)
        generation = max(self.coverage.generation - back, 0)
        self.waiting[subscription] = (generation, self.node.now)
        self.perform(self.coverage.ack_wanted(subscription, generation, self.node.now))

    def unsubscribes(self) -> None:
        if self.waiting:
            self.perform(self.coverage.subscription_ended(min(self.waiting), self.node.now, "unsubscribed"))

    def time_passes(self, seconds: float) -> None:
        self.node.now += seconds
        self.perform(self.coverage.tick(self.node.now))

    def loses_its_proxy(self) -> None:
        """Whatever was answered before speaks of another connection; so do the markers that are under way."""
        self.promised = 0
        self.answered.clear()
        self.generation.clear()
        self.under_way.clear()
        self.perform(self.coverage.proxy_lost(self.node.now))
        assert self.coverage.covered == ()

    # the mesh

    def links(self, name: str) -> None:
        self.node.proxies.states[name] = "member"
        self.node.proxies.link_all(name)

    def unlinks(self, name: str) -> None:
        self.node.proxies.linked.pop(("p1", name), None)

    def announces(self) -> None:
        """From now on who is not linked, in this run, is not covered, and has not answered."""
        view = self.node.proxies.view("p1")
        if not self.coverage.covered:
            return
        linked = {(peer.record.id, peer.record.incarnation) for peer in view.peers if peer.linked}
        self.perform(self.coverage.proxy_announced(view, self.node.now))
        for name in ("p2", "p3"):
            runs = self.answered.get(name, {})
            self.answered[name] = {run: generation for run, generation in runs.items() if (name, run) in linked}
            assert name not in self.coverage.covered or self.answered[name]

    def everyone_is_told_in_time(self) -> None:
        assert self.coverage.covered == self.covered
        self.check_covered(self.promised)
        self.perform(self.coverage.tick(self.node.now))
        for generation, since in self.waiting.values():
            assert self.node.now < since + self.TIMEOUT_S, f"no ack for {generation}"

    def heal(self) -> None:
        """The mesh is whole, and markers arrive."""
        for name in ("p1", "p2", "p3"):
            self.links(name)
        self.subscribes()
        for _ in range(20):
            self.time_passes(0.1)
            for name in ("p1", "p2", "p3"):
                self.under_way = [(list(self.generation)[-1], name, self.node.proxies.view(name))]
                self.an_answer_arrives()


def test_the_promise() -> None:
    for seed in range(SEEDS):
        promise = Promise(seed)
        try:
            promise.happen(40)
            promise.heal()
            assert promise.coverage.covered == ("p1", "p2", "p3"), "everything is covered soon"
            assert not promise.waiting, "every ack has come"
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error

"""Calls: whom a client asks, when it asks another, when it gives up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import Busy, RequestTimeout
from fabric.services.calls import Calls, Effect, Failed, Send
from fabric.services.directory import Directory, Instance


class CallsWorld:
    """A directory and the calls of one client; `asked` are the instances that a call was sent to, in order."""

    def __init__(self, *idents: str, attempts: int = 4, is_open: bool = True) -> None:
        self.directory = Directory()
        self.calls = Calls(self.directory, attempts=attempts)
        self.calls.is_open = is_open
        self.asked: dict[int, list[str]] = {}
        self.failed: dict[int, Any] = {}
        self.now = 0.0
        for ident in idents:
            self.hear(ident)

    def instance(self, ident: str, **changes: Any) -> Instance:
        return replace(Instance("s", ident, f"$inbox/{ident}/requests", lease_s=60.0), **changes)

    def hear(self, ident: str, **changes: Any) -> None:
        instance = self.instance(ident, **changes)
        change = self.directory.announcement_heard(instance.topic, instance.to_map(), self.now)
        if change is not None and change.kind == "appeared":
            self.do(self.calls.instance_appeared(change.instance, self.now))
        elif change is not None and change.kind == "left":
            self.do(self.calls.instance_left(change.instance, self.now))

    def begin(self, ident: int, deadline_s: float = 4.0, affinity: str | None = None, service: str = "s") -> None:
        self.do(self.calls.begin(ident, service, affinity, self.now, self.now + deadline_s))

    def tick(self, now: float) -> None:
        self.now = now
        self.do(self.calls.tick(now))

    def busy(self, ident: int, by: str, retry_after_s: float = 1.0) -> None:
        self.do(self.calls.instance_busy(ident, by, Busy("full", retry_after_s), self.now))

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(call, instance):
                    live = [each for each in self.directory.live("s") if each.state == "serving"]
                    assert instance in live, "only those are asked who are there and serve"
                    self.asked.setdefault(call, []).append(instance.id)
                case Failed(call, error):
                    assert call not in self.failed, "a call ends once"
                    self.failed[call] = error


def test_asked_at_once_and_answered() -> None:
    world = CallsWorld("a")
    world.begin(1)
    assert world.asked == {1: ["a"]}
    assert world.calls.call_ended(1) and not world.calls.call_ended(1)
    world.tick(10.0)
    assert world.asked == {1: ["a"]} and not world.failed and len(world.calls) == 0


def test_silence_for_a_slice_and_another_is_asked() -> None:
    world = CallsWorld("a", "b")
    world.begin(1)
    first = world.asked[1][0]
    world.tick(0.99)
    assert len(world.asked[1]) == 1
    world.tick(1.0)
    assert world.asked[1] == [first, "b" if first == "a" else "a"]
    world.tick(2.0)
    world.tick(3.0)
    assert Counter(world.asked[1]) == {"a": 2, "b": 2}, "in turn"
    world.tick(4.0)
    assert isinstance(world.failed[1], RequestTimeout)
    assert "may have been done" in str(world.failed[1])
    assert world.calls.retries == 3


def test_the_only_one_is_asked_again() -> None:
    world = CallsWorld("a")
    world.begin(1)
    world.tick(1.0)
    assert world.asked[1] == ["a", "a"]


def test_who_leaves_is_replaced_at_once() -> None:
    world = CallsWorld("a", "b")
    world.begin(1)
    first, other = world.asked[1][0], "b" if world.asked[1][0] == "a" else "a"
    world.now = 0.1
    world.hear(first, state="gone")
    assert world.asked[1] == [first, other]
    world.hear(other, state="gone")
    assert world.asked[1] == [first, other] and not world.failed, "it waits for one to appear"
    world.now = 3.9
    world.hear("c")
    assert world.asked[1] == [first, other, "c"]


def test_a_draining_one_is_not_asked_anew() -> None:
    world = CallsWorld("a")
    world.hear("a", state="draining")
    world.begin(1)
    assert not world.asked
    world.hear("a")
    assert world.asked == {1: ["a"]}, "it serves again"


def test_nobody_there() -> None:
    world = CallsWorld()
    world.begin(1)
    assert world.calls.waiting_services() == {"s"}
    world.tick(3.999)
    assert not world.failed
    world.tick(4.0)
    assert isinstance(world.failed[1], RequestTimeout) and "no instance of service 's'" in str(world.failed[1])


def test_one_that_takes_no_requests_is_not_asked() -> None:
    world = CallsWorld()
    world.hear("a", inbox="")
    world.begin(1)
    assert not world.asked


def test_busy_and_the_next_is_asked_until_all_are() -> None:
    world = CallsWorld("a", "b", "c")
    world.begin(1)
    for retry_after_s in (3.0, 0.5, 2.0):
        world.busy(1, world.asked[1][-1], retry_after_s)
    assert sorted(world.asked[1]) == ["a", "b", "c"]
    assert isinstance(world.failed[1], Busy) and world.failed[1].retry_after_s == 0.5, "the shortest of them"


def test_a_late_busy_of_one_that_was_left_changes_nothing() -> None:
    world = CallsWorld("a", "b")
    world.begin(1)
    first = world.asked[1][0]
    world.tick(1.0)
    world.busy(1, first)
    assert len(world.asked[1]) == 2 and not world.failed
    world.busy(2, first)
    assert world.calls.call_ended(1)


def test_nothing_goes_out_before_answers_can_arrive() -> None:
    world = CallsWorld("a", is_open=False)
    world.begin(1)
    assert not world.asked and world.calls.waiting_services() == set()
    world.do(world.calls.inbox_acked(0.5))
    assert world.asked == {1: ["a"]}


def test_an_inbox_that_is_never_acknowledged() -> None:
    world = CallsWorld("a", is_open=False)
    world.begin(1)
    world.tick(4.0)
    assert "not acknowledged" in str(world.failed[1])


def test_what_could_not_be_sent_is_tried_again_soon_and_blames_nobody() -> None:
    world = CallsWorld("a")
    world.begin(1)
    world.calls.send_failed(1, 0.0)
    world.tick(0.02)
    assert world.asked[1] == ["a", "a"] and world.calls.retries == 0
    assert not world.directory.is_suspect(world.instance("a"))


def test_a_silent_one_is_avoided_by_new_calls_until_it_is_heard_of() -> None:
    world = CallsWorld("a", "b")
    world.begin(1)
    silent = world.asked[1][0]
    world.tick(1.0)
    world.calls.call_ended(1)
    for ident in range(2, 12):
        world.begin(ident)
        assert world.asked[ident] != [silent]
    world.hear(silent)
    world.begin(20)
    assert world.asked[20] == [silent], "it has nothing to do, the other has ten"


def test_load_is_spread() -> None:
    world = CallsWorld("a", "b", "c")
    for ident in range(30):
        world.begin(ident)
    assert Counter(asked[0] for asked in world.asked.values()) == {"a": 10, "b": 10, "c": 10}
    world = CallsWorld()
    world.hear("a", load=0.9)
    world.hear("b", load=0.1)
    world.begin(1)
    assert world.asked[1] == ["b"], "with none of one's own, the announced load decides"


def test_calls_of_one_affinity_go_to_the_same_instance() -> None:
    world = CallsWorld("a", "b", "c")
    for ident in range(10):
        world.begin(ident, affinity="order-5")
    owners = {asked[0] for asked in world.asked.values()}
    assert len(owners) == 1
    spread = CallsWorld("a", "b", "c")
    for ident in range(300):
        spread.begin(ident, affinity=f"order-{ident}")
    assert len({asked[0] for asked in spread.asked.values()}) == 3


def test_when_the_mesh_is_reached_again_the_same_ones_are_asked_once_more() -> None:
    world = CallsWorld("a", "b")
    for ident in range(4):
        world.begin(ident)
    world.calls.call_ended(3)
    gone = world.instance("b", state="gone")
    world.directory.announcement_heard(gone.topic, gone.to_map(), 0.0)  # and the calls were not told yet
    before = {ident: list(asked) for ident, asked in world.asked.items()}
    world.do(world.calls.mesh_reached_again())
    for ident, asked in before.items():
        again = asked * 2 if ident != 3 and asked == ["a"] else asked
        assert world.asked[ident] == again
    world.tick(4.0)
    assert set(world.failed) == {0, 1, 2}, "deadlines are what they were"


def test_attempts_must_be_some() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Calls(Directory(), attempts=0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "done", "busy", "unsent", "again", "come", "drain", "go", "tick"]),
        st.integers(1, 5),
        st.sampled_from("abc"),
        st.floats(0.0, 1.0),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_every_call_ends_once_and_by_its_deadline(steps: list[tuple[str, int, str, float]]) -> None:
    """`CallsWorld.do` asserts whom is asked, and that a call fails once."""
    world, deadlines, over = CallsWorld(), dict[int, float](), set[int]()
    for action, ident, name, passed in steps:
        world.tick(world.now + passed)
        if action == "begin" and ident not in deadlines:
            deadlines[ident] = world.now + 2.0
            world.begin(ident, 2.0)
        elif action == "done" and world.calls.call_ended(ident):
            over.add(ident)
        elif action == "busy" and world.asked.get(ident):
            world.busy(ident, world.asked[ident][-1])
        elif action == "unsent":
            world.calls.send_failed(ident, world.now)
        elif action == "again":
            world.calls.mesh_reached_again()
        elif action in ("come", "drain", "go"):
            world.hear(name, state={"come": "serving", "drain": "draining", "go": "gone"}[action])
        open_now = set(deadlines) - over - set(world.failed)
        assert len(world.calls) == len(open_now)
        assert all(deadlines[each] > world.now for each in open_now), "none is open behind its deadline"
        assert not over & set(world.failed)
    world.tick(world.now + 2.0)
    assert set(world.failed) == set(deadlines) - over
    assert not world.calls._outstanding, "nothing is left of calls that are over"

"""Giving values back, with a node in place of the mesh: which of them are, and when it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric.errors import Busy
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.node import NodeState
from fabric.wire import Message
from nodes.keep import returning
from nodes.keep.retained import RetainedValue
from nodes.keep.returning import Returner, is_lost
from nodes.keep.store import KeepStore
from tests.support.kept import SECOND, kept_value
from tests.support.waiting import PATIENCE_S, until


class FakeNode:
    """A node whose mesh keeps `told`, and that may not publish below `secret/`."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.ok = True
        self.asked = 0
        self.room = 100
        self.held: list[tuple[str, Any, Any, int, float | None]] = []
        self.gone: list[tuple[str | None, int]] = []
        """What `let_go` was told."""
        self.holding: Callable[[], object] = lambda: None
        """Called within `hold`."""
        self.open: set[int] = set()
        self.state_funs: list[Callable[[NodeState], object]] = []
        self.coverage_funs: list[Callable[[CoverageEvent], object]] = []
        self.on_state, self.on_coverage = self.state_funs.append, self.coverage_funs.append

    def subscribe(self, topic_filter: str, take: Any, acked: Any, *, retained: bool, as_published: bool) -> int:
        assert retained and as_published
        self.asked += 1
        ident = len(self.open) + 1
        self.open.add(ident)
        for message in self.told:
            take(message)
        acked(Ack(self.ok, ("p1",), (), 0.0))
        return ident

    def unsubscribe(self, ident: int) -> None:
        self.open.remove(ident)

    def why_not(self, act: str, topic: str) -> str | None:
        assert act == "publish"
        return "no" if topic.startswith("secret/") else None

    def hold(self, topic: str, payload: Any, headers: Any, *, sent_ns: int, expires_s: float | None) -> bool:
        self.held.append((topic, payload, headers, sent_ns, expires_s))
        self.holding()
        return len(self.held) <= self.room

    def let_go(self, topic: str | None = None, *, before_ns: int = 0) -> None:
        self.gone.append((topic, before_ns))


class World:
    def __init__(self, store: KeepStore) -> None:
        self.store, self.node = store, FakeNode()
        self.flushed = 0
        self.busy = 0
        """How often the store is still to be away."""
        self._returner: Returner | None = None

    def start(self, *filters: str) -> Returner:
        node: Any = self.node
        self._returner = Returner(
            node,
            self.store,
            filters or ("#",),
            is_ours=lambda topic: topic != "other/share",
            flush=self._flush,
            clock_ns=lambda: 10 * SECOND,
            settle_s=0.01,
        )
        return self._returner

    def _flush(self, timeout_s: float) -> None:
        self.flushed += 1
        if self.busy:
            self.busy -= 1
            raise Busy("away", retry_after_s=1)

    def given(self) -> list[str]:
        return [topic for topic, *_ in self.node.held]

    def asked(self, returner: Returner, times: int) -> None:
        until(lambda: returner.asked >= times and returner._due_at is None, "the mesh was asked")

    def close(self) -> None:
        if self._returner is not None:
            self._returner.close(PATIENCE_S)
            assert not self._returner._thread.is_alive() and self.node.open == set()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(returning, "AGAIN_S", 0.01)
    store = KeepStore(f"sqlite:///{tmp_path}/keep.db")
    world = World(store)
    yield world
    world.close()
    store.close()


def told(topic: str, sent_ns: int, payload: Any = "x") -> Message:
    return Message(topic, payload, 9, 1, sent_ns, {"retained": True, "retain": 0})


def test_what_the_mesh_does_not_keep_is_given_with_its_time(world: World) -> None:
    values = [
        kept_value("lost", 5, {"a": 1}), kept_value("short", 5, "s", expires_ns=12 * SECOND),
        kept_value("expired", 5, "e", expires_ns=10 * SECOND), kept_value("cleared", 5, None),
        kept_value("there", 5, "t"), kept_value("older/there", 5, "o"), kept_value("newer/there", 5, "n"),
        kept_value("older/cleared", 5, None), kept_value("other/share", 5, "x"), kept_value("secret/a", 5, "x"),
        RetainedValue("headers", 5, 1, 1, None, False, b"\x01", b"\x81\xa1h\x02"),
    ]  # fmt: skip
    world.store.write([], [], 1, values)
    world.node.told = [told("there", 5), told("older/there", 4), told("newer/there", 6), told("older/cleared", 4)]
    world.node.told.append(Message("lost", "live, and not to be retained", 9, 1, 7))
    returner = world.start()
    until(lambda: len(world.node.held) == 5, "all are given")
    world.asked(returner, 1)
    assert sorted(world.node.held, key=lambda each: each[0]) == [
        ("headers", 1, {"h": 2}, 5, None),
        ("lost", {"a": 1}, None, 5, None),
        ("older/cleared", None, None, 5, None),
        ("older/there", "o", None, 5, None),
        ("short", "s", None, 5, 2),
    ]
    assert returner.figures() == {"given_back": 5, "given_back_denied": 1, "given_back_refused": 0}


def test_what_no_filter_matches_stays_and_what_is_too_much_is_counted(world: World) -> None:
    world.store.write([], [], 1, [kept_value(topic, 5, "x") for topic in ("a/1", "a/2", "b/1")])
    world.node.room = 1
    returner = world.start("a/#", "c")
    until(lambda: returner.refused == 1, "all were tried")
    assert sorted(world.given()) == ["a/1", "a/2"] and returner.given == 1


def test_it_is_tried_again_while_mesh_or_store_do_not_answer(world: World) -> None:
    world.store.write([], [], 1, [kept_value("a", 5, "x")])
    world.busy, world.node.ok = 2, False
    returner = world.start()
    until(lambda: world.node.asked > 2, "it was tried again")
    assert world.flushed == 0, "who was asked has not answered: nothing is known to be lost"
    world.node.ok = True
    until(lambda: world.given() == ["a"], "both answer")
    world.asked(returner, 3)
    until(lambda: world.flushed == 4, "with the third look, and behind what was given")


def test_it_asks_again_when_it_comes_to_a_proxy_or_covers_one_more_and_not_otherwise(world: World) -> None:
    returner = world.start()
    world.asked(returner, 1)
    [state_fun], [coverage_fun] = world.node.state_funs, world.node.coverage_funs
    state_fun(NodeState("connecting", "tcp://127.0.0.1:1"))
    coverage_fun(CoverageEvent((), ("p1",), ("p1",), ()))
    assert returner._due_at is None
    world.store.write([], [], 1, [kept_value("a", 5, "x")])
    state_fun(NodeState("connected", "tcp://127.0.0.1:1"))
    until(lambda: world.given() == ["a"], "asked once more")
    world.asked(returner, 2)
    coverage_fun(CoverageEvent(("p1",), (), (), ("p1",)))
    world.asked(returner, 3)
    until(lambda: world.given() == ["a", "a"], "this mesh keeps nothing")


def test_what_is_newer_is_let_go_at_once_and_a_value_handed_out_once_more_is_looked_into(world: World) -> None:
    world.store.write([], [], 1, [kept_value("a", 5, None), kept_value("b", 5, "short", expires_ns=10 * SECOND)])
    returner = world.start()
    world.asked(returner, 1)
    assert world.node.held == [], "the mesh shows nothing older"
    returner.heard(Message("a", "live", 9, 1, 3, {"retain": 0}))
    assert world.node.gone == [("a", 3)] and returner._due_at is None
    world.node.told = [told("a", 4), told("b", 4)]
    returner.heard(world.node.told[0])
    wanted = [("a", None, None, 5, None), ("b", None, None, 5, None)]
    until(lambda: sorted(world.node.held) == wanted, "what is older there is cleared once more")
    world.asked(returner, 2)


def test_what_was_set_while_an_older_value_was_given_is_let_go(world: World) -> None:
    world.store.write([], [], 1, [kept_value("a", 5, "old"), kept_value("b", 5, "b")])
    world.node.holding = lambda: world.store.write([], [], 1, [kept_value("a", 6, None)])
    world.start()
    until(lambda: world.node.gone == [("a", 6)], "what the store has now is newer than what is held")
    assert sorted(world.given()) == ["a", "b"]


def test_when_it_ends_the_node_holds_nothing_any_more(world: World) -> None:
    world.store.write([], [], 1, [kept_value("a", 5, "x"), kept_value("b", 5, "x")])
    world.node.holding = lambda: returner.end()
    returner = world.start()
    returner._thread.join()
    assert len(world.node.held) == 1, "not one more is given"
    returner.close(PATIENCE_S)
    assert set(world.node.gone) == {(None, 0)}


def test_closing_does_not_wait_for_an_ack_that_does_not_come(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def subscribe(*_: object, **__: object) -> int:
        world.node.open.add(1)
        return 1

    monkeypatch.setattr(world.node, "subscribe", subscribe)
    returner = world.start()
    until(lambda: world.node.open == {1}, "the mesh is asked")
    returner.close(PATIENCE_S)
    assert not returner._thread.is_alive() and world.node.open == set()


@pytest.mark.parametrize(
    ("payload", "known", "lost"),
    [("x", None, True), ("x", 4, True), ("x", 5, False), ("x", 6, False), (None, None, False), (None, 4, True)],
)
def test_what_is_lost(payload: Any, known: int | None, lost: bool) -> None:
    assert is_lost(kept_value("a", 5, payload), {} if known is None else {"a": known}) is lost

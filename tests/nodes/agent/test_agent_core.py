"""An agent's core: which updates it may handle, and how it learns that it may no more, whatever is late or lost."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import StateError
from nodes.agent.agent_core import AgentCore
from nodes.agent.engaged_page import AGAIN_S, ENGAGED_CHATS, EngagedPage, View
from nodes.agent.interface import (
    AgentChoseButtons,
    AgentSetAvailable,
    AgentShowed,
    AgentStopped,
    AgentWantedSnapshot,
    Ask,
    ClockTicked,
    Effect,
    FrameNodeAnswered,
    FrameNodeFailed,
    FrameNodeRejected,
    FrameNodeTold,
    Input,
    LeaseDoubted,
    LeaseLost,
    PageUpdated,
    Say,
    SessionSpoke,
    SpaceWatched,
    Tell,
    Unwatch,
    Update,
    Watch,
)
from nodes.rules import chat, topics
from nodes.rules.cobrowse import Cobrowse
from tests.support.page_world import PLACE, SESSION, state

SHARED = "e" * 32
"""The key that it shares with the page, sealed."""


def engaged(version: int, **changes: Any) -> dict[str, Any]:
    """A page's state map as agents get it, in session with `ada`."""
    place = {"space": PLACE, "engagement": SHARED}
    found = state(version, **{"cobrowse": "joined", "agent": "ada", **place, **changes})
    del found["code"], found["lease_s"], found["home"]
    return found


class Ada:
    """An agent with a clock; updates that it handled are in `handled`."""

    def __init__(self, lease_s: float = 9.0) -> None:
        self.now = 100.0
        self.core = AgentCore("ada", "Ada", ("help",), lease_s=lease_s)
        self.asked: list[Ask] = []
        self.told: list[str] = []
        self.story: list[tuple[str, dict[str, Any]]] = []
        self.said: list[str] = []
        self.handled: list[tuple[int, int]] = []
        self.space: list[Watch | Unwatch] = []

    def perform(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            match effect:
                case Ask():
                    self.asked.append(effect)
                case Tell(event, about):
                    self.told.append(event)
                    self.story.append((event, about))
                case Say():
                    self.said.append(effect.topic)
                case Watch() | Unwatch():
                    self.space.append(effect)
                case Update(session, epoch, data):
                    if self.core.may_handle(session, epoch, self.now):
                        self.handled.append((epoch, data["n"]))
        return effects

    def handle(self, event: Input) -> list[Effect]:
        return self.perform(self.core.handle(event, self.now))

    def stop(self) -> None:
        self.handle(AgentStopped(SESSION))

    def sign_in(self, *pages: dict[str, Any]) -> Ada:
        self.handle(ClockTicked())
        assert self.asked[-1].operation == "sign_in"
        self.present(*pages)
        return self

    def present(self, *pages: dict[str, Any], asked_at: float | None = None) -> None:
        """The frame node answers the last renewal."""
        ask = [ask for ask in self.asked if ask.operation in ("sign_in", "renew_agent")][-1]
        reply = {"agent": "ada", "available": False, "pages": list(pages)}
        self.handle(FrameNodeAnswered(ask, reply, self.now if asked_at is None else asked_at))

    def hear(self, news: Any) -> None:
        self.handle(FrameNodeTold(news))

    def join(self, version: int = 1, epoch: int = 1) -> Ada:
        self.hear(engaged(version, epoch=epoch))
        self.handle(SpaceWatched(SESSION, PLACE))
        return self

    def update(self, n: int, epoch: int = 1, snapshot: bool = False) -> None:
        payload = {"epoch": epoch, "n": n, "event": "x", "snapshot": snapshot}
        self.handle(PageUpdated(SESSION, payload))

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.handle(ClockTicked())

    def answer(self, news: Any, operation: str) -> None:
        ask = [ask for ask in self.asked if ask.operation == operation][-1]
        self.handle(FrameNodeAnswered(ask, news, self.now))


def test_join_watch_snapshot_updates() -> None:
    ada = Ada().sign_in()
    ada.hear(engaged(1))
    assert ada.told == ["signed_in", "joined"] and ada.space == [Watch(SESSION, PLACE, SHARED)]
    assert ada.said == [], "a snapshot that comes before the ack could be missed"
    ada.handle(SpaceWatched(SESSION, PLACE))
    assert ada.said == [topics.SNAPSHOT_REQUEST]
    ada.update(1)
    ada.update(2, snapshot=True)
    ada.update(3)
    ada.update(4)
    assert ada.handled == [(1, 2), (1, 3), (1, 4)] and ada.core.unsynced_updates == 1


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    ada = Ada().sign_in().join()
    ada.tick(AGAIN_S)
    ada.tick(AGAIN_S)
    assert len(ada.said) == 3
    ada.update(9, snapshot=True)
    ada.tick(AGAIN_S)
    assert len(ada.said) == 3


def test_a_gap_asks_for_a_snapshot_and_nothing_is_handled_until_it_comes() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    ada.update(3)
    ada.update(4)
    assert ada.handled == [(1, 1)] and len(ada.said) == 2 and ada.core.gaps == 1
    ada.update(5, snapshot=True)
    ada.update(6)
    assert ada.handled == [(1, 1), (1, 5), (1, 6)]
    ada.update(1)
    assert ada.core.gaps == 2, "the page was loaded again and counts from 1 again: what it builds on is not known"


def test_a_stop_by_the_page_is_confirmed_until_that_is_answered() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    ada.hear(engaged(2, cobrowse="stopping", epoch=2))
    assert ada.told[-1] == "stopped"
    confirm = Ask("confirm_stop", {"agent": "ada", "session": SESSION, "epoch": 2})
    assert ada.asked[-1] == confirm
    ada.update(2)
    ada.update(1, epoch=2, snapshot=True)
    assert ada.handled == [(1, 1)] and ada.core.refused_updates == 2
    ada.handle(FrameNodeFailed(confirm))
    ada.tick(AGAIN_S)
    assert ada.asked.count(confirm) == 2
    ada.answer(engaged(3, cobrowse="idle", epoch=2, agent=None), "confirm_stop")
    assert ada.core.pages() == [] and ada.space[-1] == Unwatch(SESSION)
    ada.tick(AGAIN_S)
    assert ada.asked.count(confirm) == 2


def test_its_own_stop_is_at_once() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    ada.stop()
    ada.update(2)
    ada.hear(engaged(2, visibility="shown"))
    ada.update(3, snapshot=True)
    assert ada.handled == [(1, 1)] and ada.told[-1] == "stopped"
    assert ada.asked[-1].body == {"agent": "ada", "session": SESSION, "epoch": 1}
    with pytest.raises(StateError):
        ada.stop()
    ada.answer(engaged(3, cobrowse="idle", epoch=2, agent=None), "stop")
    assert ada.core.pages() == [] and ada.told.count("stopped") == 1


def test_both_stop_at_once() -> None:
    """The page's stop was first, and then a second one; the agent's own is answered by that state."""
    ada = Ada().sign_in().join()
    ada.stop()
    ada.answer(engaged(4, cobrowse="stopping", epoch=3), "stop")
    assert ada.asked[-1] == Ask("confirm_stop", {"agent": "ada", "session": SESSION, "epoch": 3})


def test_a_message_that_comes_late_never_brings_a_session_back() -> None:
    ada = Ada().sign_in().join()
    ada.hear(engaged(3, cobrowse="idle", epoch=2, agent=None))
    ada.hear(engaged(2))
    ada.update(1, snapshot=True)
    assert ada.core.pages() == [] and ada.handled == []


def test_the_end_may_come_before_the_answer_to_the_join() -> None:
    ada = Ada().sign_in()
    ada.hear(engaged(3, cobrowse="idle", epoch=2, agent=None))
    ada.hear(engaged(2))
    ada.update(1, snapshot=True)
    assert ada.core.pages() == [] and ada.handled == [] and "joined" not in ada.told


def test_without_a_renewal_nothing_is_handled_once_the_lease_could_be_over() -> None:
    """Counted from when the renewal was asked, however late its answer came."""
    ada = Ada(lease_s=9.0).sign_in().join()
    ada.update(1, snapshot=True)
    ada.tick(3.0)
    assert ada.asked[-1].operation == "renew_agent"
    ada.now += 2.0
    ada.present(engaged(1), asked_at=ada.now - 2.0)
    ada.now += 6.9
    ada.update(2)
    ada.now += 0.1
    ada.update(3)
    assert ada.handled == [(1, 1), (1, 2)]
    ada.tick()
    assert ada.told[-1] == "lease_uncertain"
    ada.present(engaged(1))
    ada.update(4)
    assert len(ada.handled) == 2 and ada.said[-1] == topics.SNAPSHOT_REQUEST
    ada.update(5, snapshot=True)
    assert ada.handled[-1] == (1, 5)


def test_a_lost_lease_ends_everything_and_signs_in_again() -> None:
    ada = Ada().sign_in().join()
    ada.tick(3.0)
    ada.handle(LeaseLost())
    assert ada.told[-2:] == ["lease_lost", "stopped"] and ada.core.pages() == []
    ada.tick()
    assert ada.asked[-1].operation == "sign_in"
    ada.present()
    ada.hear(engaged(1))
    assert ada.core.pages() == [], "the session that was lost is over"


def test_a_renewal_makes_missed_events_good() -> None:
    ada = Ada().sign_in()
    ada.tick(3.0)
    ada.now += 0.1
    ada.present(engaged(4))
    assert ada.told[-1] == "joined"
    ada.tick(3.0)
    ada.now += 0.1
    ada.present()
    assert ada.told[-1] == "stopped" and ada.core.pages() == []


def test_a_renewal_that_was_asked_before_the_join_does_not_end_it() -> None:
    ada = Ada().sign_in()
    ada.tick(3.0)
    asked_at = ada.now
    ada.now += 0.1
    ada.join()
    ada.present(asked_at=asked_at)
    assert len(ada.core.pages()) == 1


def test_availability_is_put_right_by_the_next_renewal() -> None:
    ada = Ada()
    ada.handle(AgentSetAvailable(True))
    assert ada.asked == []
    ada.sign_in()
    assert ada.asked[-1] == Ask("availability", {"agent": "ada", "on": True})


def test_chats() -> None:
    ada = Ada().sign_in()
    talk = {"cobrowse": "idle", "agent": None, "button": "help"}
    ada.hear(engaged(1, chat="offered", chat_agent="ada", **talk))
    assert not ada.core.may_chat(SESSION) and ada.space == []
    ada.hear(engaged(2, chat="open", chat_agent="ada", **talk))
    assert ada.core.may_chat(SESSION) and ada.space == [Watch(SESSION, PLACE, SHARED)]
    ada.handle(SessionSpoke(SESSION, topics.MESSAGE, {"text": "hi"}))
    ada.hear(engaged(3, chat="closed", chat_agent=None, **talk))
    ada.handle(SessionSpoke(SESSION, topics.MESSAGE, {"text": "too late"}))
    assert ada.told == ["signed_in", "chat_offered", "chat_open", "chat_message", "chat_closed"]
    assert ada.space[-1] == Unwatch(SESSION)
    ada.hear(engaged(4, chat="offered", chat_agent="ada", **talk))
    ada.hear(engaged(5, chat="waiting", chat_agent=None, **talk))
    assert ada.told[-2:] == ["chat_offered", "chat_withdrawn"]


def test_another_agents_chat_is_none_of_its_business() -> None:
    ada = Ada().sign_in().join()
    ada.hear(engaged(2, chat="open", chat_agent="bob"))
    assert ada.handle(SessionSpoke(SESSION, topics.MESSAGE, {"text": "to bob"})) == []


def test_a_page_that_moves_is_watched_at_its_new_home() -> None:
    ada = Ada().sign_in().join()
    ada.update(5, snapshot=True)
    ada.hear(engaged(2, space="g/s"))
    assert ada.space[1:] == [Unwatch(SESSION), Watch(SESSION, "g/s", SHARED)]
    ada.handle(SpaceWatched(SESSION, PLACE))
    assert len(ada.said) == 1, "the ack of the old place"
    ada.handle(SpaceWatched(SESSION, "g/s"))
    assert len(ada.said) == 2


def test_garbage_changes_nothing() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    junks: list[Any] = [None, 1, [], {}, {"session": 3}, engaged(9, space=5), {**engaged(9), "version": "9"}]
    for junk in junks:
        ada.hear(junk)
        ada.handle(PageUpdated(SESSION, junk))
        ada.handle(PageUpdated("nobody", junk))
        ada.handle(SessionSpoke("nobody", "x", junk))
        ada.present(asked_at=0.0) if junk is None else None
    assert ada.handled == [(1, 1)] and len(ada.core.pages()) == 1
    ada.update(2)
    assert ada.handled == [(1, 1), (1, 2)]


# ── any sequence of inputs ───────────────────────────────────────────────────────────────────────────────────────────

RISES = st.integers(0, 2)
STATES = st.fixed_dictionaries(
    {
        "cobrowse": st.sampled_from(["idle", "asked", "joined", "joined", "stopping"]),
        "agent": st.sampled_from(["ada", "ada", "bob"]),
        "chat": st.sampled_from(chat.MACHINE.states),
        "chat_agent": st.sampled_from([None, "ada", "bob"]),
        "space": st.sampled_from([PLACE, PLACE, "g/s"]),
        "gone": st.sampled_from([False, False, False, True]),
    }
)
UPDATES = st.tuples(st.just("update"), st.integers(-1, 1), st.integers(0, 2), st.booleans())
STEPS = st.one_of(
    UPDATES,
    UPDATES,
    st.tuples(st.just("news"), RISES, STATES),
    st.tuples(st.just("answer"), RISES, STATES),
    st.tuples(st.just("late"), st.integers(1, 4)),
    st.tuples(st.just("renewal"), st.booleans(), st.sampled_from([0.0, 5.0])),
    st.tuples(st.sampled_from(["tick", "stall"]), st.sampled_from([0.0, 0.6, 2.2, 7.0])),
    st.tuples(st.sampled_from(["stop", "stop", "watched", "snapshot", "message"])),
    st.tuples(st.sampled_from(["failed", "rejected", "doubted", "lost"])),
)


class Story:
    """An agent to which anything happens; `check` holds it to what it told, and to what it handled."""

    def __init__(self) -> None:
        self.ada = Ada(lease_s=6.5).sign_in().join()
        self.ada.update(1, snapshot=True)
        self.history = [engaged(1)]
        self.n, self.over = 1, 0
        self.page, self.lowest, self.seen = self.ada.core._pages.get(SESSION), 0, 0

    def step(self, what: str, *with_: Any) -> None:
        ada, core = self.ada, self.ada.core
        match what:
            case "news":
                ada.hear(self._news(*with_))
            case "late":
                ada.hear(self.history[-min(with_[0], len(self.history))])
            case "update":
                self._update(*with_)
            case "stop":
                self._stop()
            case "tick":
                ada.tick(with_[0])
            case "stall":
                ada.now += with_[0]
            case "watched":
                ada.handle(SpaceWatched(SESSION, PLACE))
            case "snapshot":
                ada.handle(AgentWantedSnapshot(SESSION))
            case "message":
                told = ada.handle(SessionSpoke(SESSION, topics.MESSAGE, "x"))
                assert bool(told) == core.may_chat(SESSION)
            case "doubted" | "lost":
                ada.handle(LeaseDoubted() if what == "doubted" else LeaseLost())
            case _:
                self._frame_node(what, *with_)
        self.check()

    def _stop(self) -> None:
        session = next((page.view.cobrowsing for page in self.ada.core._pages.values()), None)
        before = copy.deepcopy(inside(self.ada.core))
        if session is None or session.state not in ("asked", "joined"):
            with pytest.raises(StateError):
                self.ada.stop()
            assert inside(self.ada.core) == before, "what is refused changes nothing"
        else:
            self.ada.stop()
            self.over = session.epoch

    def _update(self, n_rises: int, epoch_below: int, snapshot: bool) -> None:
        ada, before = self.ada, len(self.ada.handled)
        session, told, number = self.told.session, len(self.ada.story), self.n + n_rises
        ada.update(number, epoch=self.history[-1]["epoch"] - epoch_below, snapshot=snapshot)
        for epoch, n in ada.handled[before:]:
            assert epoch == session and epoch > self.over, "in the session that it was told of, and no stopped one"
            assert ada.core.lease.state == "present" and ada.now < ada.core.lease._until_s
            assert snapshot or n == ada.handled[before - 1][1] + 1
        assert len(ada.story) == told
        self.n = max(self.n, number)

    def _frame_node(self, what: str, *with_: Any) -> None:
        """Answers what was asked last, of the pages or of the lease."""
        ada = self.ada
        if what == "renewal":
            named, late_s = with_
            pages = ada.core.pages() if named else []
            ada.present(*map(dict, pages), asked_at=ada.now - late_s)
            return
        ask = ada.asked[-1]
        if what == "answer":
            ada.handle(FrameNodeAnswered(ask, self._news(*with_), ada.now))
        else:
            ada.handle(FrameNodeFailed(ask) if what == "failed" else FrameNodeRejected(ask))

    def _news(self, epoch_rises: int, changes: dict[str, Any]) -> dict[str, Any]:
        """As from a store: each version once, an epoch that never falls, and rises when a session is over."""
        last = self.history[-1]
        was, will = ([each[name] for name in ("cobrowse", "agent", "gone")] for each in (last, {**last, **changes}))
        allowed = [was[0], will[0]] == ["asked", "joined"] and was[1:] == will[1:]
        epoch = last["epoch"] + max(epoch_rises, was[0] in ("asked", "joined") and was != will and not allowed)
        self.history.append(engaged(last["version"] + 1, epoch=epoch, **changes))
        return self.history[-1]

    def _check_nothing_falls(self, page: EngagedPage | None, view: View) -> None:
        """The epoch of one engagement, and the version of the page for as long as it is remembered."""
        seen, _, _ = self.ada.core._let_go.get(SESSION, (0, 0.0, 0))
        seen = seen if page is None else page.state["version"]
        assert seen == 0 or seen >= self.seen
        self.seen = seen
        assert page is not self.page or page is None or view.cobrowsing.epoch >= self.lowest
        self.page, self.lowest = page, view.cobrowsing.epoch

    @property
    def told(self) -> Told:
        return Told(self.ada.story)

    def check(self) -> None:
        core, told = self.ada.core, self.told
        assert (told.lease == "absent") == (core.lease.state == "absent")
        assert core.lease.state != "uncertain" or told.lease == "uncertain"
        assert len(core._pages) <= 1 and not core._pages.keys() & core._let_go.keys()
        page = core._pages.get(SESSION)
        view = View(Cobrowse(), "idle", None) if page is None else page.view
        assert told.session == (view.cobrowsing.epoch if view.cobrowsing.state == "joined" else None)
        assert told.request == (view.cobrowsing.epoch if view.cobrowsing.state == "asked" else None)
        assert told.chat == (view.chat if view.chat in ENGAGED_CHATS else None)
        watched = [each for each in self.ada.space if isinstance(each, Watch)]
        unwatched = [each for each in self.ada.space if isinstance(each, Unwatch)]
        assert len(watched) - len(unwatched) == (view.space is not None)
        assert view.space is None or watched[-1].space == view.space
        self._check_nothing_falls(page, view)
        if page is not None:
            assert all(
                page.accepts(epoch) == view.cobrowsing.accepts(epoch) for epoch in range(view.cobrowsing.epoch + 2)
            )
            assert page._snapshot_due_s is None or view.cobrowsing.state == "joined"
            assert not page._is_synced or view.cobrowsing.state == "joined"
            assert page.state.get("gone") is not True


class Told:
    """What a program makes of all that it was told."""

    def __init__(self, story: list[tuple[str, dict[str, Any]]]) -> None:
        self.session: int | None = None
        self.request: int | None = None
        self.chat: str | None = None
        self.lease = "absent"
        for event, data in story:
            self._take(event, data)

    def _take(self, event: str, data: dict[str, Any]) -> None:
        match event:
            case "signed_in" | "lease_lost" | "lease_uncertain":
                self.lease = {"signed_in": "present", "lease_lost": "absent", "lease_uncertain": "uncertain"}[event]
            case "requested":
                assert self.request is None and self.session is None
                self.request = data["epoch"]
            case "request_declined":
                assert self.request == data["epoch"], "what is over is what was asked"
                self.request = None
            case "joined":
                assert self.session is None and self.request in (None, data["epoch"])
                self.session, self.request = data["epoch"], None
            case "stopped":
                assert self.session == data["epoch"], "what stops is what was joined"
                self.session = None
            case "chat_offered" | "chat_invited" | "chat_open":
                self.chat = event.removeprefix("chat_")
            case "chat_closed" | "chat_withdrawn" | "chat_declined":
                assert self.chat is not None and (self.chat == "open") == (event == "chat_closed")
                assert self.chat == "invited" or event != "chat_declined"
                self.chat = None


def inside(core: AgentCore) -> Any:
    """All that the agent keeps."""
    parts = {name: part for name, part in vars(core).items() if name not in ("_pages", "lease", "chats")}
    chats = [chat.as_map() for chat in core.chats.all()]
    return parts, vars(core.lease), chats, [vars(page) for page in core._pages.values()]


@given(st.lists(STEPS, min_size=10, max_size=40))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_only_updates_of_the_session_it_was_told_of_are_handled(steps: list[Any]) -> None:
    story = Story()
    for what, *with_ in steps:
        story.step(what, *with_)


def test_it_wants_a_fresh_snapshot_and_handles_nothing_before() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    ada.said.clear()
    ada.handle(AgentWantedSnapshot(SESSION))
    assert ada.said == [topics.SNAPSHOT_REQUEST]
    ada.update(2)
    ada.update(3, snapshot=True)
    assert ada.handled == [(1, 1), (1, 3)]
    assert ada.handle(AgentWantedSnapshot("nobody's")) == []


def test_other_buttons_are_signed_in_with() -> None:
    ada = Ada()
    ada.handle(AgentChoseButtons(("sales",)))
    assert ada.asked == [], "it is not signed in yet"
    ada.sign_in()
    assert ada.asked[-1].body["buttons"] == ["sales"]
    ada.handle(AgentChoseButtons(()))
    assert (ada.asked[-1].operation, ada.asked[-1].body["buttons"]) == ("sign_in", [])


def test_a_pulse_is_told_while_its_epoch_runs_and_only_a_whole_one() -> None:
    ada = Ada().sign_in().join()
    pulse = {"epoch": 1, "n": 4, "silent_s": 0.5, "open": True}
    wrong = [None, 1, {}, {**pulse, "n": True}, {**pulse, "more": 1}, {**pulse, "epoch": 2}, {**pulse, "silent_s": "1"}]
    for payload in [*wrong, pulse]:
        ada.handle(SessionSpoke(SESSION, topics.PULSE, payload))
    assert ada.told.count("pulse") == 1 and "message" not in ada.told
    ada.stop()
    ada.handle(SessionSpoke(SESSION, topics.PULSE, pulse))
    assert ada.told.count("pulse") == 1


def test_that_a_page_is_on_the_screen_is_said_while_its_epoch_runs() -> None:
    ada = Ada().sign_in().join()
    assert ada.handle(AgentShowed(SESSION, 2)) == ada.handle(AgentShowed("another", 1)) == []
    assert ada.handle(AgentShowed(SESSION, 1)) == [Say(SESSION, PLACE, topics.SHOWN, {"epoch": 1, "agent": "ada"})]
    ada.stop()
    assert ada.handle(AgentShowed(SESSION, 1)) == []

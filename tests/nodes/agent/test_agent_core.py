"""An agent's core: which updates it may handle, and how it learns that it may no more, whatever is late or lost."""

from __future__ import annotations

import random
from typing import Any

from nodes.agent.agent_core import AGAIN_S, AgentCore, Ask, Effect, Say, Tell, Unwatch, Update, Watch
from nodes.rules import topics
from tests.support.page_world import HOME, SESSION, state


def engaged(version: int, **changes: Any) -> dict[str, Any]:
    """A page's state map as agents get it, in session with `ada`."""
    found = state(version, **{"cobrowse": "joined", "agent": "ada", **changes})
    del found["code"], found["lease_s"]
    return found


class Ada:
    """An agent with a clock; updates that it handled are in `handled`."""

    def __init__(self, lease_s: float = 9.0) -> None:
        self.now = 100.0
        self.core = AgentCore("ada", "Ada", ("help",), lease_s=lease_s)
        self.asked: list[Ask] = []
        self.told: list[str] = []
        self.said: list[str] = []
        self.handled: list[tuple[int, int]] = []
        self.space: list[Watch | Unwatch] = []

    def perform(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            match effect:
                case Ask():
                    self.asked.append(effect)
                case Tell(event, _):
                    self.told.append(event)
                case Say():
                    self.said.append(effect.topic)
                case Watch() | Unwatch():
                    self.space.append(effect)
                case Update(session, epoch, data):
                    if self.core.may_handle(session, epoch, self.now):
                        self.handled.append((epoch, data["n"]))
        return effects

    def sign_in(self, *pages: dict[str, Any]) -> Ada:
        self.perform(self.core.tick(self.now))
        assert self.asked[-1].operation == "sign_in"
        self.present(*pages)
        return self

    def present(self, *pages: dict[str, Any], asked_at: float | None = None) -> None:
        """The frame node answers the last renewal."""
        ask = [ask for ask in self.asked if ask.operation in ("sign_in", "renew_agent")][-1]
        reply = {"agent": "ada", "available": False, "pages": list(pages)}
        self.perform(self.core.answered(ask, reply, self.now if asked_at is None else asked_at, self.now))

    def hear(self, news: Any) -> None:
        self.perform(self.core.heard(news, self.now))

    def join(self, version: int = 1, epoch: int = 1) -> Ada:
        self.hear(engaged(version, epoch=epoch))
        self.perform(self.core.watched(SESSION, HOME, self.now))
        return self

    def update(self, n: int, epoch: int = 1, snapshot: bool = False) -> None:
        payload = {"epoch": epoch, "n": n, "event": "x", "snapshot": snapshot}
        self.perform(self.core.update(SESSION, payload, self.now))

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.perform(self.core.tick(self.now))

    def answer(self, news: Any, operation: str) -> None:
        ask = [ask for ask in self.asked if ask.operation == operation][-1]
        self.perform(self.core.answered(ask, news, self.now, self.now))


def test_join_watch_snapshot_updates() -> None:
    ada = Ada().sign_in()
    ada.hear(engaged(1))
    assert ada.told == ["signed_in", "joined"] and ada.space == [Watch(SESSION, HOME)]
    assert ada.said == [], "a snapshot that comes before the ack could be missed"
    ada.perform(ada.core.watched(SESSION, HOME, ada.now))
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
    assert ada.core.gaps == 2, "the page was loaded again and counts anew: what it builds on is not known"


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
    ada.perform(ada.core.failed(confirm, ada.now))
    ada.tick(AGAIN_S)
    assert ada.asked.count(confirm) == 2
    ada.answer(engaged(3, cobrowse="idle", epoch=2, agent=None), "confirm_stop")
    assert ada.core.pages() == [] and ada.space[-1] == Unwatch(SESSION)
    ada.tick(AGAIN_S)
    assert ada.asked.count(confirm) == 2


def test_its_own_stop_is_at_once() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    ada.perform(ada.core.stop(SESSION, ada.now))
    ada.update(2)
    ada.hear(engaged(2, visibility="shown"))
    ada.update(3, snapshot=True)
    assert ada.handled == [(1, 1)] and ada.told[-1] == "stopped"
    assert ada.asked[-1].body == {"agent": "ada", "session": SESSION, "epoch": 1}
    assert ada.core.stop(SESSION, ada.now) == []
    ada.answer(engaged(3, cobrowse="idle", epoch=2, agent=None), "stop")
    assert ada.core.pages() == [] and ada.told.count("stopped") == 1


def test_both_stop_at_once() -> None:
    """The page's stop was first, and then a second one; the agent's own is answered by that state."""
    ada = Ada().sign_in().join()
    ada.perform(ada.core.stop(SESSION, ada.now))
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
    ada.perform(ada.core.heard(engaged(2), ada.now))
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
    ada.perform(ada.core.lease_lost(ada.now))
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
    ada.perform(ada.core.set_available(True))
    assert ada.asked == []
    ada.sign_in()
    assert ada.asked[-1] == Ask("availability", {"agent": "ada", "on": True})


def test_chats() -> None:
    ada = Ada().sign_in()
    chat = {"cobrowse": "idle", "agent": None, "button": "help"}
    ada.hear(engaged(1, chat="offered", chat_agent="ada", **chat))
    assert not ada.core.may_chat(SESSION) and ada.space == []
    ada.hear(engaged(2, chat="open", chat_agent="ada", **chat))
    assert ada.core.may_chat(SESSION) and ada.space == [Watch(SESSION, HOME)]
    ada.perform(ada.core.message(SESSION, topics.MESSAGE, {"text": "hi"}))
    ada.hear(engaged(3, chat="closed", chat_agent=None, **chat))
    ada.perform(ada.core.message(SESSION, topics.MESSAGE, {"text": "too late"}))
    assert ada.told == ["signed_in", "chat_offered", "chat_open", "chat_message", "chat_closed"]
    assert ada.space[-1] == Unwatch(SESSION)
    ada.hear(engaged(4, chat="offered", chat_agent="ada", **chat))
    ada.hear(engaged(5, chat="waiting", chat_agent=None, **chat))
    assert ada.told[-2:] == ["chat_offered", "chat_withdrawn"]


def test_another_agents_chat_is_none_of_its_business() -> None:
    ada = Ada().sign_in().join()
    ada.hear(engaged(2, chat="open", chat_agent="bob"))
    assert ada.perform(ada.core.message(SESSION, topics.MESSAGE, {"text": "to bob"})) == []


def test_a_page_that_moves_is_watched_at_its_new_home() -> None:
    ada = Ada().sign_in().join()
    ada.update(5, snapshot=True)
    ada.hear(engaged(2, home="g" * 32))
    assert ada.space[1:] == [Unwatch(SESSION), Watch(SESSION, "g" * 32)]
    ada.perform(ada.core.watched(SESSION, HOME, ada.now))
    assert len(ada.said) == 1, "the ack of the old place"
    ada.perform(ada.core.watched(SESSION, "g" * 32, ada.now))
    assert len(ada.said) == 2


def test_garbage_changes_nothing() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    junks: list[Any] = [None, 1, [], {}, {"session": 3}, engaged(9, home=None), {**engaged(9), "version": "9"}]
    for junk in junks:
        ada.hear(junk)
        ada.perform(ada.core.update(SESSION, junk, ada.now))
        ada.perform(ada.core.update("nobody", junk, ada.now))
        ada.perform(ada.core.message("nobody", "x", junk))
        ada.present(asked_at=0.0) if junk is None else None
    assert ada.handled == [(1, 1)] and len(ada.core.pages()) == 1
    ada.update(2)
    assert ada.handled == [(1, 1), (1, 2)]


def test_no_update_of_an_epoch_that_is_over_in_any_order_of_events() -> None:
    """Random news, in any order, some lost: epochs handled never fall, and none once its end was heard or asked."""
    rng = random.Random(3)
    for _ in range(400):
        ada = Ada().sign_in()
        history = [engaged(1, epoch=1)]
        for version in range(2, 8):
            last = history[-1]
            if last["cobrowse"] == "joined":
                history.append(engaged(version, cobrowse="stopping", epoch=last["epoch"] + 1))
            elif last["cobrowse"] == "stopping":
                history.append(engaged(version, cobrowse="idle", agent=None, epoch=last["epoch"]))
            else:
                history.append(engaged(version, epoch=last["epoch"]))
        over = 0
        for _ in range(40):
            match rng.randrange(4):
                case 0:
                    news = rng.choice(history)
                    ada.hear(news)
                    if news["cobrowse"] != "joined":
                        over = max(over, news["epoch"] - 1)
                case 1:
                    if ada.perform(ada.core.stop(SESSION, ada.now)):
                        over = max(over, ada.asked[-1].body["epoch"])
                case 2 | 3:
                    before = len(ada.handled)
                    ada.update(rng.randrange(1, 4), epoch=rng.randrange(1, 5), snapshot=rng.random() < 0.5)
                    assert all(epoch > over for epoch, _ in ada.handled[before:])
        epochs = [epoch for epoch, _ in ada.handled]
        assert epochs == sorted(epochs)


def test_it_wants_a_fresh_snapshot_and_handles_nothing_before() -> None:
    ada = Ada().sign_in().join()
    ada.update(1, snapshot=True)
    ada.said.clear()
    ada.perform(ada.core.resync(SESSION, ada.now))
    assert ada.said == [topics.SNAPSHOT_REQUEST]
    ada.update(2)
    ada.update(3, snapshot=True)
    assert ada.handled == [(1, 1), (1, 3)]
    assert ada.core.resync("nobody's", ada.now) == []


def test_other_buttons_are_signed_in_with() -> None:
    ada = Ada()
    ada.perform(ada.core.serve(("sales",)))
    assert ada.asked == [], "it is not signed in yet"
    ada.sign_in()
    assert ada.asked[-1].body["buttons"] == ["sales"]
    ada.perform(ada.core.serve(()))
    assert (ada.asked[-1].operation, ada.asked[-1].body["buttons"]) == ("sign_in", [])


def test_a_pulse_is_told_while_its_epoch_runs_and_only_a_whole_one() -> None:
    ada = Ada().sign_in().join()
    pulse = {"epoch": 1, "n": 4, "silent_s": 0.5, "open": True}
    wrong = [None, 1, {}, {**pulse, "n": True}, {**pulse, "more": 1}, {**pulse, "epoch": 2}, {**pulse, "silent_s": "1"}]
    for payload in [*wrong, pulse]:
        ada.perform(ada.core.message(SESSION, topics.PULSE, payload))
    assert ada.told.count("pulse") == 1 and "message" not in ada.told
    ada.perform(ada.core.stop(SESSION, ada.now))
    ada.perform(ada.core.message(SESSION, topics.PULSE, pulse))
    assert ada.told.count("pulse") == 1


def test_that_a_page_is_on_the_screen_is_said_while_its_epoch_runs() -> None:
    ada = Ada().sign_in().join()
    assert ada.core.shown(SESSION, 2) == [] and ada.core.shown("another", 1) == []
    assert ada.core.shown(SESSION, 1) == [Say(SESSION, HOME, topics.SHOWN, {"epoch": 1, "agent": "ada"})]
    ada.perform(ada.core.stop(SESSION, ada.now))
    assert ada.core.shown(SESSION, 1) == []

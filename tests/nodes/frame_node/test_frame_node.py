"""The frame node on a real mesh: what it tells to whom and when, its limits, a store that is away."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, FabricError, NotAllowed, RequestTimeout, ServiceError
from nodes.frame_node import events as events_module
from nodes.frame_node import frame_node as frame_module
from nodes.frame_node.frame_node import FrameNode
from nodes.frame_node.operations import OPERATIONS
from nodes.frame_node.work import Work
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.rules.topics import FRAME_SERVICE
from nodes.store.records import StoreOptions
from nodes.store.store import Store
from tests.support.frames import Asker
from tests.support.postgres import NoPostgres, postgres_server
from tests.support.proven import handle
from tests.support.waiting import Box, mesh, until

pytest_plugins = ("tests.support.stores",)

START = Callable[..., FrameNode]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy for this file: service `frame` must be nobody else's."""
    with mesh(tmp_path_factory.mktemp("mesh"), 1) as (proxy,):
        yield proxy.base


@pytest.fixture
def asker(base: str) -> Iterator[Asker]:
    with Asker(base) as asker:
        yield asker


@pytest.fixture
def start(base: str, tmp_path: Path) -> Iterator[START]:
    """start(url="", max_in_flight=…, **limits of the store): a frame node in this process, ready."""
    with contextlib.ExitStack() as stack:

        def start(url: str = "", max_in_flight: int = 1_000, name: str = "frame", **limits: Any) -> FrameNode:
            options = StoreOptions(**{"capacity": 100, **limits})
            store = stack.enter_context(contextlib.closing(Store(url or f"sqlite:///{tmp_path}/store.db", options)))
            node = stack.enter_context(Node(base))
            frame = FrameNode(node, store, options, max_in_flight=max_in_flight, name=name)
            stack.enter_context(contextlib.closing(frame))
            assert frame.wait_ready()
            return frame

        yield start


# --- what is told


def test_a_session_from_its_code_to_the_next(asker: Asker, start: START, database: str) -> None:
    start(database)
    page = asker.grant()
    session, code = page["session"], page["code"]
    assert asker.wait_page(session, version=1) == page
    asker.sign_in("ann")
    seen = asker.ask("join", agent="ann", code=f" {code[:3]}-{code[3:]} ")
    assert asker.wait_agent("ann", version=2) == seen
    assert seen["session"] == handle(session, "ann") and seen["space"] == f"{asker.home}/{session}"
    own = {"session": session, "home": asker.home, "code": None, "lease_s": page["lease_s"]}
    both = {name: value for name, value in seen.items() if name not in ("space", "engagement")}
    assert asker.wait_page(session, version=2) == {**both, **own}
    stopping = asker.ask("stop", session=session, epoch=1)
    assert stopping == asker.wait_page(session, cobrowse="stopping")
    assert asker.wait_agent("ann", cobrowse="stopping")["epoch"] == 2
    asker.ask("confirm_stop", agent="ann", session=session, epoch=2)
    again = asker.wait_page(session, cobrowse="idle", epoch=2)
    assert again["code"] not in (None, code) and asker.wait_agent("ann", cobrowse="idle", epoch=2)
    assert asker.ask("renew", session=session) == again
    assert asker.ask("renew_many", sessions=[session, "x" * 22])["pages"] == {session: again, "x" * 22: None}
    assert asker.ask("release_page", session=session) == {}
    assert asker.wait_page(session, gone=True)["code"] is None
    with pytest.raises(LeaseExpired, match="ask for a code again"):
        asker.ask("renew", session=session)
    assert not any("code" in event for event in asker.agent_events("ann")), "an agent never sees a code"


def test_chats_go_to_who_is_free_and_buttons_follow_who_is_there(asker: Asker, start: START, database: str) -> None:
    start(database, refusal_s=0.3)
    one, two = asker.grant()["session"], asker.grant()["session"]
    asker.wait_buttons({})
    asker.sign_in("ann", "help", "sales")
    asker.wait_buttons({"help": 1, "sales": 1})
    asker.ask("trigger", session=one, button="help"), asker.ask("trigger", session=two, button="help")
    asker.wait_agent("ann", session=handle(one, "ann"), chat="offered")
    asker.ask("accept", agent="ann", session=one)
    asker.wait_page(one, chat="open", chat_agent="ann")
    asker.wait_agent("ann", session=handle(two, "ann"), chat="offered")  # the next, as soon as she has taken the first
    asker.ask("stop_chat", session=one)
    assert asker.wait_agent("ann", session=handle(one, "ann"), chat="closed")["chat_agent"] is None
    asker.ask("decline", agent="ann", session=two)
    asker.wait_page(two, chat="waiting", version=4)
    asker.wait_page(two, chat="offered", version=5)  # again when the refusal is over: nothing but time did it
    asker.ask("sign_out", agent="ann")
    asker.wait_page(two, chat="waiting", version=6)
    asker.wait_buttons({})


def test_who_vanishes_is_gone_within_the_lease(asker: Asker, start: START, database: str) -> None:
    start(database)
    asker.sign_in("ann", "help", lease_s=2)
    asker.wait_buttons({"help": 1})
    page = asker.grant()
    asker.ask("join", agent="ann", code=page["code"])
    over = asker.wait_page(page["session"], cobrowse="idle", epoch=2)  # nobody renewed the agent's lease
    assert over["agent"] is None and over["code"] not in (None, page["code"])
    asker.wait_agent("ann", cobrowse="idle", epoch=2)
    asker.wait_buttons({})
    short = asker.grant(lease_s=0.5)
    assert asker.wait_page(short["session"], gone=True)["code"] is None


def test_nothing_is_told_or_answered_before_it_is_committed(asker: Asker, start: START, tmp_path: Path) -> None:
    frame = start()
    early, publish = list[Any](), frame._events._node.publish

    def watched(topic: str, payload: Any, **options: Any) -> int:
        if "home" in payload:
            with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as reader:
                row = reader.execute("SELECT version FROM pages WHERE session = ?", [payload["session"]]).fetchone()
            if row is None or row[0] < payload["version"]:
                early.append(payload)
        return publish(topic, payload, **options)

    frame._events._node.publish = watched  # type: ignore[method-assign, assignment]
    asker.sign_in("ann")
    page = asker.grant()
    asker.ask("join", agent="ann", code=page["code"])
    asker.ask("stop", session=page["session"], epoch=1)
    asker.wait_agent("ann", cobrowse="stopping")
    assert not early


def test_requests_that_wait_together_are_committed_together(asker: Asker, start: START) -> None:
    frame = start()
    asker.grant()
    with frame._store.lock:  # the worker is held up at its first request, the others wait for it
        first = asker.submit("buttons_available")
        until(lambda: frame.server.stats()["in_flight"] == 1, "the first is being done")
        others = [asker.submit("grant_code", **asker.page()) for _ in range(50)]
        until(lambda: frame.server.stats()["in_flight"] == 51, "the others wait")
        before = frame.server.stats()["batches"]
    codes = {future.result(10)["code"] for future in others}
    assert first.result(10) == {} and len(codes) == 50
    assert frame.server.stats()["batches"] - before <= 2


# --- limits


def test_more_than_its_capacity_is_busy_until_a_place_is_free(asker: Asker, start: START, database: str) -> None:
    start(database, capacity=2, busy_retry_after_s=7.0)
    one, two = asker.grant(), asker.grant()
    with pytest.raises(Busy, match="all 2 places are taken") as caught:
        asker.grant()
    assert caught.value.retry_after_s == 7.0
    assert asker.grant(one["session"])["code"] == one["code"], "who has a code keeps it"
    asker.ask("release_page", session=two["session"])
    assert asker.grant()["code"] not in (one["code"], two["code"]), "a code rests after use"


def test_more_than_may_be_in_flight_is_busy_at_once(asker: Asker, start: START) -> None:
    frame = start(max_in_flight=3)
    asker.grant()
    with frame._store.lock:
        asked = [asker.submit("grant_code", **asker.page()) for _ in range(10)]
        until(lambda: sum(future.done() for future in asked) == 7, "seven are refused while three wait")
        busy = [future.exception() for future in asked if future.done()]
    assert all(isinstance(error, Busy) and 0 < error.retry_after_s <= 5 for error in busy)
    assert sum(future.exception(10) is None for future in asked) == 3


def test_an_agent_that_guesses_codes_is_locked_out(asker: Asker, start: START) -> None:
    start(wrong_codes=3, lockout_s=60.0)
    asker.sign_in("eve")
    page = asker.grant()
    for guess in ("111111", "222222", "333333"):
        with pytest.raises(UnknownContactCode, match="no page holds"):
            asker.ask("join", agent="eve", code=guess if guess != page["code"] else "444444")
    with pytest.raises(NotAllowed, match="too many wrong contact codes"):
        asker.ask("join", agent="eve", code=page["code"])
    asker.sign_in("ann")
    assert asker.ask("join", agent="ann", code=page["code"])["agent"] == "ann"


def test_close_finishes_what_is_in_flight(asker: Asker, start: START) -> None:
    frame = start()
    asker.grant()
    with frame._store.lock:
        asked = [asker.submit("grant_code", **asker.page()) for _ in range(20)]
        until(lambda: frame.server.stats()["in_flight"] == 20, "all wait")
        closing = threading.Thread(target=frame.close)
        closing.start()
        until(lambda: frame.server._admission.closed, "it is closing")
    closing.join(10)
    assert len({future.result(10)["code"] for future in asked}) == 20
    assert not frame._ticker.is_alive()
    with pytest.raises((Busy, RequestTimeout)):
        asker.ask("grant_code", deadline_s=0.5, **asker.page())


# --- bad input from the wire


def test_bad_requests_are_refused_and_harm_nobody(asker: Asker, start: START, database: str) -> None:
    frame = start(database)
    page = asker.grant()
    asker.sign_in("ann")
    bodies: list[Any] = [None, 5, "x", [], {}, {"session": "x" * 1_000_000}, {"agent": [[[]]]}]
    for operation in (*OPERATIONS, "no_such", "x" * 100):
        for body in bodies:
            try:
                reply = asker.client.request(FRAME_SERVICE, operation, body, deadline_s=15)
            except NotAllowed as refused:
                assert ": expected " in str(refused)
            else:
                assert (operation, reply) == ("buttons_available", {}) and isinstance(body, dict)
    for operation in ("grant_code", "trigger", "stop"):
        deep: Any = "x"
        for _ in range(60):
            deep = [deep]
        with pytest.raises(NotAllowed):
            asker.client.request(FRAME_SERVICE, operation, {"session": deep, "epoch": deep}, deadline_s=15)
    asker.node.publish_system(frame.server.inbox, {"op": 5}, {"reply_to": "a/b", "id": -1})
    asker.node.publish_system(frame.server.inbox, b"\xff")
    until(lambda: frame.server.stats()["malformed"] == 2, "what names no inbox is only counted")
    assert asker.ask("renew", session=page["session"]) == page
    stats = frame.stats()
    assert (stats["failed"], stats["pages"], stats["codes"], stats["untold"]) == (0, 1, 1, 0)


def test_a_replayed_key_changes_nothing_at_another_frame_node_either(
    asker: Asker, start: START, database: str, tmp_path: Path
) -> None:
    """The answering side of one frame node keeps answers; here all go to the store."""
    frames = [start(database, name="f1")]
    page = asker.grant()
    first = asker.ask("stop", key="one", session=page["session"], epoch=1)
    frames[0].close()
    frames.append(start(database, name="f2"))
    assert asker.ask("stop", key="one", session=page["session"], epoch=1) == first
    with pytest.raises(NotAllowed, match="used for another request"):
        asker.ask("stop", key="one", session=page["session"], epoch=2)
    other = asker.ask("stop", key="one", session=asker.grant()["session"], epoch=1)
    assert other["epoch"] == 2, "nobody uses up what another page may ask"
    assert asker.ask("renew", session=page["session"])["version"] == first["version"]


def test_a_request_that_fails_says_so_and_harms_no_other(
    asker: Asker, start: START, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frame = start()
    asker.sign_in("ann")  # so it has met the frame node
    broken, do = asker.page(), Work._do

    def failing(self: Work, tx: Any, operation: Any, key: str) -> dict[str, Any]:
        reply = do(self, tx, operation, key)
        if self.session == broken["session"]:
            raise ZeroDivisionError
        return reply

    monkeypatch.setattr(Work, "_do", failing)
    asker.met()  # while the store can be read
    with frame._store.lock:
        asked = [asker.submit("grant_code", **body) for body in (asker.page(), broken, asker.page())]
        until(lambda: frame.server.stats()["in_flight"] == 3, "all wait")
    assert asked[0].result(10)["code"] and asked[2].result(10)["code"]
    with pytest.raises(ServiceError, match="the service failed with ZeroDivisionError"):
        asked[1].result(10)
    assert frame.stats()["pages"] == 2 and not asker.page_events(broken["session"])
    assert broken["session"] not in caplog.text


# --- events that cannot be told, ticks that fail


def test_what_cannot_be_published_is_counted_and_heartbeats_make_it_good(
    asker: Asker, start: START, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = start()
    waits: list[float] = []

    def refuse(topic: str, payload: Any, *, timeout_s: float) -> int:
        waits.append(timeout_s)
        raise RequestTimeout("no room")

    say = frame._events._node.publish_system

    def refuse_site_connect(topic: str, payload: Any, headers: Any = None, *, timeout_s: float = 0.0) -> int:
        own = topic.startswith("$site_connect/")
        return refuse(topic, payload, timeout_s=timeout_s) if own else say(topic, payload, headers, timeout_s=timeout_s)

    asker.sign_in("ann")
    page = asker.grant()
    before = frame._events.untold
    with monkeypatch.context() as patched:
        patched.setattr(frame._events._node, "publish", refuse)
        patched.setattr(frame._events._node, "publish_system", refuse_site_connect)
        asker.ask("join", agent="ann", code=page["code"])
        assert frame._events.untold - before >= 2 and waits[:2] == [events_module.PUBLISH_S, 0.0]
    assert asker.ask("renew", session=page["session"])["cobrowse"] == "joined"
    assert [each["cobrowse"] for each in asker.ask("renew_agent", agent="ann")["pages"]] == ["joined"]


def test_a_tick_that_fails_is_logged_and_the_next_one_goes_on(
    asker: Asker, start: START, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start()
    calls = Box()

    def fail(*_: Any, **__: Any) -> Any:
        calls(1)
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(frame_module, "Turn", fail)
        calls.wait(2)
    assert "a tick failed" in caplog.text
    short = asker.grant(lease_s=0.5)
    asker.wait_page(short["session"], gone=True)


# --- a store that is away


def test_while_postgresql_is_away_everybody_is_busy_and_then_all_goes_on(
    asker: Asker, start: START, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        with postgres_server() as server:
            frame = start(server.create_database())
            page = asker.grant()
            asker.sign_in("ann", "help")
            server.stop()
            until(lambda: not frame._store.answers, "a tick has found out")
            with pytest.raises(Busy, match="the store does not answer") as caught:
                asker.grant()
            assert caught.value.retry_after_s == 1.0
            with pytest.raises(Busy):
                asker.ask("renew", session=page["session"])
            server.restart()
            until(lambda: frame._store.answers, "the ticker has found it again")
            assert asker.ask("renew", session=page["session"])["code"] == page["code"]
            asker.wait_buttons({"help": 1})
            frame.close()
    except NoPostgres as missing:
        pytest.skip(str(missing))
    said = [record.message for record in caplog.records if record.name == "nodes.frame_node"]
    assert len(said) == 2, said
    assert "the store is away" in said[0] and "Error: " in said[0] and "answers again, after " in said[1]


def test_a_database_that_is_full_is_away_too(asker: Asker, start: START, caplog: pytest.LogCaptureFixture) -> None:
    frame = start()
    page = asker.grant()

    def limit(pages: int) -> None:
        with frame._store.transaction() as tx:  # SQLite's own limit, which says what a full disk says
            tx.sql.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    limit(1)  # as many as there are
    granted, busy = [page], None
    for _ in range(2_000):
        try:
            granted.append(asker.grant())
        except Busy as error:
            busy = error
            break
    assert busy is not None and "the store does not answer" in str(busy)
    limit(1_000_000)
    until(lambda: frame._store.answers, "the ticker has found it again")
    assert asker.grant()["code"]
    for each in granted:
        assert asker.ask("renew", session=each["session"])["code"] == each["code"], "what was promised is there"
    assert "OperationalError: database or disk is full" in caplog.text


# --- logs


def test_codes_and_sessions_are_logged_as_hashes_only(
    asker: Asker, start: START, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    frame = start(database)
    page = asker.grant()
    session = page["session"]
    asker.sign_in("ann")
    asker.ask("join", agent="ann", code=page["code"])
    asker.ask("stop", session=session, epoch=1, agent="ann")
    second = asker.wait_page(session, cobrowse="idle", epoch=2)["code"]
    for operation, body in (("renew", {"session": session + "/"}), ("join", {"agent": "ann", "code": second + "/"})):
        with contextlib.suppress(FabricError):
            asker.ask(operation, **body)
    with frame._store.transaction() as tx:
        tx.sql.exec_driver_sql("DROP TABLE refusals")
    with contextlib.suppress(FabricError):
        asker.ask("release_page", session=session)
    frame.close()
    said = caplog.text
    assert "Error" in said and "refusals" in said, "it has failed, and the log says where"
    assert "version 2 epoch 1: co-browsing joined" in said and said.count("code #") >= 2
    assert not [secret for secret in (session, page["code"], second) if secret in said]

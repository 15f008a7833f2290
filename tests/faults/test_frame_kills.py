"""Frame nodes that are killed (SIGKILL): in every state, in mid-load, and at random moments while codes are given out.

What was answered is there afterwards: same session, same code, same version. FABRIC_CODES sets how many codes the last
test gives out; 100,000 is the figure that is promised, the default keeps the suite quick.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from fabric.errors import Busy, RequestTimeout
from nodes.cli.exits import Exit
from nodes.rules.backoff import Backoff
from nodes.rules.errors import UnknownContactCode
from nodes.store.records import StoreOptions
from nodes.store.schema import codes, pages
from nodes.store.store import Store
from tests.support.frames import Asker, start_frame, until_known
from tests.support.processes import FabricProcess, Process
from tests.support.waiting import mesh, until

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytest_plugins = ("tests.support.stores",)

CODES = int(os.environ.get("FABRIC_CODES", "1000"))
IN_FLIGHT = 400
"""Requests of the test that wait for an answer at once."""

Start = Callable[..., FabricProcess]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy for this file: service `frame` must be nobody else's."""
    with mesh(tmp_path_factory.mktemp("mesh"), 1) as (proxy,):
        yield proxy.base


@pytest.fixture
def frame(base: str, tmp_path: Path, started: list[Process]) -> Start:
    """frame(url, *args, name="f1"): start `fabric frame`, ready; stopped at the end of the test."""

    def start(url: str, *args: str, name: str = "f1") -> FabricProcess:
        process = start_frame(base, url, tmp_path, *args, name=name)
        started.append(process)
        process.wait_event("ready")
        return process

    return start


# --- in every state


def test_killed_and_started_again_in_every_state(base: str, frame: Start, tmp_path: Path) -> None:
    """A session and a chat, step by step; after each step the frame node is killed, and all is as it was."""
    url = f"sqlite:///{tmp_path}/store.db"
    process = frame(url)
    with Asker(base, attempts=60) as asker:  # slices of 0.25 s: requests to one that is dead soon go to the next
        page = asker.grant()
        session = page["session"]

        def killed() -> dict[str, Any]:
            """Kill the frame node and start another; return the page's state, which must be the one that was known."""
            nonlocal process
            before, agent = asker.ask("renew", session=session), asker.ask("renew_agent", agent="ann")
            process.kill()
            process = frame(url)
            until_known(asker, process)
            after: dict[str, Any] = asker.ask("renew", session=session)
            assert after == before and asker.ask("renew_agent", agent="ann") == agent
            return after

        asker.sign_in("ann", "help")
        assert killed() == page, "granted"
        asker.ask("join", agent="ann", code=page["code"])
        assert (state := killed())["cobrowse"] == "joined" and state["code"] is None
        with pytest.raises(UnknownContactCode, match="another agent has used it"):
            asker.ask("join", agent="ann", code=page["code"])
        asker.ask("set_visibility", session=session, event="minimise")
        assert killed()["visibility"] == "minimised"
        asker.ask("stop", session=session, epoch=1)
        assert (state := killed())["cobrowse"] == "stopping" and state["epoch"] == 2
        asker.ask("confirm_stop", agent="ann", session=session, epoch=2)
        assert (state := killed())["cobrowse"] == "idle" and state["code"] not in (None, page["code"])
        asker.ask("availability", agent="ann", on=False)
        asker.ask("trigger", session=session, button="help")
        assert killed()["chat"] == "waiting"
        asker.ask("availability", agent="ann", on=True)
        asker.wait_page(session, chat="offered")
        assert killed()["chat_agent"] == "ann"
        asker.ask("accept", agent="ann", session=session)
        assert killed()["chat"] == "open"
        asker.ask("stop_chat", session=session)
        assert killed()["chat"] == "closed"
        asker.ask("proactive", agent="ann", session=session)
        assert killed()["chat"] == "invited"
        assert asker.ask("trigger", session=session, button="help")["chat"] == "open"
        asker.ask("release_page", session=session)
        process.kill()
        process = frame(url)
        back = asker.grant(session)
        assert back["version"] > state["version"] and back["epoch"] >= 2 and back["code"] not in (None, state["code"])


# --- two on one database


def test_two_on_one_postgresql_one_killed_in_mid_load(base: str, frame: Start, postgres: PostgresServer) -> None:
    """Pages go on with the other: same session, same code; an agent's session goes on, too."""
    url = postgres.create_database()
    first, second = frame(url, name="f1"), frame(url, name="f2")
    with Asker(base, attempts=20) as asker:
        until_known(asker, first, second)
        asker.sign_in("ann")
        held = asker.grant()
        asker.ask("join", agent="ann", code=held["code"])
        asked = [(body := asker.page(), asker.submit("grant_code", 60.0, **body)) for _ in range(300)]
        until(lambda: sum(future.done() for _, future in asked) > 30, "the load has begun")
        first.kill()
        known = {body["session"]: future.result(60)["code"] for body, future in asked}
        assert len(set(known.values())) == 300
        renewed = asker.ask("renew_many", deadline_s=30, sessions=list(known))["pages"]
        assert {session: state["code"] for session, state in renewed.items()} == known
        session = next(iter(known))
        assert asker.grant(session)["code"] == known[session], "who asks again keeps its code"
        assert asker.ask("stop", session=held["session"], epoch=1)["cobrowse"] == "stopping"
        assert asker.ask("confirm_stop", agent="ann", session=held["session"], epoch=2)["cobrowse"] == "idle"
        third = frame(url, name="f1")
        until_known(asker, third)
        second.kill()
        assert asker.ask("renew", deadline_s=30, session=session)["code"] == known[session]


# --- many codes, kills at random moments


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_two_live_pages_share_a_code(
    base: str, frame: Start, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """One frame node on SQLite, two on PostgreSQL; each is killed and started again, at random moments."""
    if kind == "sqlite":
        url, names = f"sqlite:///{tmp_path}/store.db", ["f1"]
    else:
        url, names = request.getfixturevalue("postgres").create_database(), ["f1", "f2"]
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    source = random.Random(seed)
    begun = time.monotonic()
    with Asker(base) as asker:
        promised = _Promised(asker, CODES)
        kills = [sorted(source.randrange(CODES // 20, CODES) for _ in range(3 + CODES // 20_000)) for _ in names]
        args = ("--capacity", str(2 * CODES))
        owners = [
            threading.Thread(target=_kill_at, args=(frame, url, args, name, moments, promised))
            for name, moments in zip(names, kills, strict=True)
        ]
        for owner in owners:
            owner.start()
        try:
            promised.ask_all(timeout_s=60 + CODES / 50)
        finally:
            promised.finish()
            for owner in owners:
                owner.join(60)
        assert not any(owner.is_alive() for owner in owners) and promised.error is None, promised.error
        known = promised.codes
        print(
            f"{kind}: {CODES} codes in {time.monotonic() - begun:.1f} s, {sum(map(len, kills))} kills,"
            f" {promised.retries} asked again"
        )
        assert len(known) == CODES and len(set(known.values())) == CODES, "two live pages share a code"
    with_store = Store(url, StoreOptions(capacity=2 * CODES))
    with with_store.transaction() as tx:
        live = {session: code for session, code in tx.sql.execute(select(pages.c.session, pages.c.code))}  # noqa: C416
        held = set(tx.sql.execute(select(codes.c.code).where(codes.c.free_at.is_(None))).scalars())
    with_store.close()
    assert live == known and held == set(known.values()), "what was promised is what is there, and nothing else"


class _Promised:
    """Asks for a code for each of `count` pages, as pages do: again, with a pause, when it was busy or too late.

    `codes` holds what was answered; a code that was promised to another page before is an error at once.
    """

    def __init__(self, asker: Asker, count: int) -> None:
        self.codes: dict[str, str] = {}
        self.retries = 0
        self.error: BaseException | None = None
        self.over = False
        self._asker, self.count = asker, count
        self._owners: dict[str, str] = {}
        self._changed = threading.Condition()
        self._again: list[tuple[float, dict[str, Any], int]] = []
        self._open = 0
        self._backoff = Backoff(base_s=0.05, cap_s=1.0, attempts=1_000)

    def ask_all(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        fresh = iter([self._asker.page(lease_s=600.0) for _ in range(self.count)])
        while True:
            with self._changed:
                if self.error is not None:
                    raise self.error
                if len(self.codes) == self.count:
                    return
                now = time.monotonic()
                if now > end:
                    raise AssertionError(
                        f"{len(self.codes)} of {self.count} codes after {timeout_s:g} s; {self._open} requests open,"
                        f" {len(self._again)} wait to be asked again; {self._asker.client.stats()}"
                    )
                due = [each for each in self._again if each[0] <= now]
                self._again = [each for each in self._again if each[0] > now]
                room = IN_FLIGHT - self._open - len(due)
                ready = [(body, attempt) for _, body, attempt in due]
                ready += [(body, 1) for body in itertools.islice(fresh, max(room, 0))]
                self._open += len(ready)
                if not ready:
                    self._changed.wait(0.02)
            for body, attempt in ready:
                future = self._asker.submit("grant_code", 10.0, **body)
                future.add_done_callback(lambda done, body=body, attempt=attempt: self._done(done, body, attempt))  # type: ignore[misc]

    def wait(self, count: int) -> None:
        """Wait until that many codes were answered, or all is over."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.codes) >= count or self.error is not None or self.over)

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def finish(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def _done(self, future: Future[Any], body: dict[str, Any], attempt: int) -> None:
        error = future.exception()
        with self._changed:
            self._open -= 1
            if isinstance(error, Busy | RequestTimeout):
                self.retries += 1
                drawn = random.random()
                pause_s = self._backoff.delay_s(min(attempt, 10), drawn, 0.0)
                self._again.append((time.monotonic() + (pause_s or 0.0), body, attempt + 1))
            elif error is not None:
                self.error = error
            else:
                session, code = body["session"], future.result()["code"]
                if self._owners.setdefault(code, session) != session or self.codes.get(session, code) != code:
                    self.error = AssertionError("two live pages share a code")
                self.codes[session] = code
            self._changed.notify_all()


def _kill_at(frame: Start, url: str, args: tuple[str, ...], name: str, moments: list[int], promised: _Promised) -> None:
    """Run one frame node; kill it (SIGKILL) each time so many codes were answered, and start it again."""
    try:
        process = frame(url, *args, name=name)
        for moment in moments:
            promised.wait(moment)
            process.kill()
            process = frame(url, *args, name=name)
        promised.wait(promised.count)
        assert process.stop() == Exit.DONE
    except BaseException as error:
        promised.fail(error)

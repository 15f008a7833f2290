"""The store as a whole: batches, crashes, two processes at once, and every promise under random use."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from fabric.errors import Busy, FabricError
from nodes.rules.cobrowse import CONSENTS
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.store import agents, asks, chats, expiry, pages, schema
from nodes.store.records import Page, StoreOptions
from nodes.store.store import Store
from nodes.store.transaction import Transaction
from tests.support.postgres import NoPostgres, postgres_server

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)

ROOT = Path(__file__).parents[3]


# --- batches


def test_a_batch_answers_each_request_and_commits_what_was_done(bench: Bench) -> None:
    def broken(tx: Transaction) -> Page:
        pages.grant_code(tx, "broken", "home", 30.0)
        raise ZeroDivisionError

    def too_long(tx: Transaction) -> Page:
        return pages.grant_code(tx, "x" * 5000 if bench.url.startswith("postgres") else None, "home", 30.0)  # type: ignore[arg-type]

    granted, refused, failed, impossible, last = bench.store.commit_together(
        [
            lambda tx: pages.grant_code(tx, "s1", "home", 30.0),
            lambda tx: pages.renew(tx, "never"),
            broken,
            too_long,
            lambda tx: pages.grant_code(tx, "s2", "home", 30.0),
        ]
    )
    assert isinstance(granted, Page) and isinstance(last, Page)
    assert isinstance(refused, LeaseExpired)
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(impossible, Exception) and not isinstance(impossible, FabricError)
    assert [row[0] for row in bench.tables("pages")["pages"]] == ["s1", "s2"]
    assert len(bench.tables("codes")["codes"]) == 2, "the code of the broken request went back"


def test_an_exception_rolls_a_transaction_back(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError), bench.store.transaction() as tx:
        pages.grant_code(tx, "s1", "home", 30.0)
        raise ZeroDivisionError
    assert bench.tables("pages", "codes") == {"pages": [], "codes": []}


def test_a_locked_database_is_busy(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    with store.transaction() as tx:
        tx.sql.exec_driver_sql("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "store.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="the store does not answer: OperationalError"):
        store.commit_together([lambda tx: pages.renew(tx, "s1")])
    with pytest.raises(Busy), store.transaction() as tx:
        pages.renew(tx, "s1")
    other.close()
    store.close()


def test_what_was_committed_survives_a_crash_and_the_store_goes_on() -> None:
    """On a new server: the one of all tests has a hundred databases, and a minute may not be enough to recover them."""
    try:
        with postgres_server() as server:
            store = Store(server.create_database())
            (page,) = store.commit_together([lambda tx: pages.grant_code(tx, "s1", "home", 600.0)])
            assert isinstance(page, Page)
            server.restart()
            (again,) = store.commit_together([lambda tx: pages.renew(tx, "s1")])
            assert isinstance(again, Page) and again.code == page.code
            store.close()
    except NoPostgres as missing:
        pytest.skip(str(missing))


def test_two_frame_nodes_in_each_others_way_both_get_through(postgres: PostgresServer) -> None:
    """Two batches lock the same two pages in opposite order: PostgreSQL takes one back, and it is run again."""
    from tests.support.stores import Bench

    bench = Bench(postgres.create_database())
    bench.page("s1"), bench.page("s2")
    both_inside = threading.Barrier(2)
    runs: list[str] = []
    outcomes: list[object] = []

    def work(store: Store, first: str, second: str) -> None:
        def meet(tx: Transaction) -> Page:
            page = pages.stop(tx, first, 1)
            if first not in runs:
                runs.append(first)
                both_inside.wait(10)
            else:
                runs.append(first)
            return page

        outcomes.extend(store.commit_together([meet, lambda tx: pages.stop(tx, second, 1)]))

    threads = [threading.Thread(target=work, args=(bench.open(), *order)) for order in (("s1", "s2"), ("s2", "s1"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) > 2, "one of the two was run again"
    assert all(isinstance(outcome, Page) and outcome.epoch == 2 for outcome in outcomes)
    bench.close()


# --- processes


@pytest.mark.parametrize("seed", [1, 2])
def test_two_killed_frame_nodes_never_give_one_code_to_two_pages(database: str, seed: int) -> None:
    """Two processes at once, each killed (SIGKILL) twice in the middle: all promises hold, no code is given twice."""
    count, source = 1_250, random.Random(seed)
    promised: dict[str, str] = {}
    Store(database, StoreOptions(capacity=2 * count)).close()
    threads = [
        threading.Thread(target=_granted_with_kills, args=(database, name, count, source.randrange(10**9), promised))
        for name in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Store(database)
    with store.transaction() as tx:
        live = {session: code for session, code in tx.sql.execute(select(schema.pages.c.session, schema.pages.c.code))}  # noqa: C416
        held = set(tx.sql.execute(select(schema.codes.c.code).where(schema.codes.c.free_at.is_(None))).scalars())
    store.close()
    assert set(live) == {f"{name}-{number}" for name in "ab" for number in range(count)}
    assert len(set(live.values())) == len(live), "two live pages share a code"
    assert held == set(live.values())
    assert promised == live


def _granted_with_kills(url: str, name: str, count: int, seed: int, promised: dict[str, str]) -> None:
    source = random.Random(seed)
    done = 0
    for kill_after in (*(source.randrange(1, 12) for _ in range(2)), count):
        command = [sys.executable, "-m", "tests.support.code_granter", url, name, str(done), str(count), str(2 * count)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for number, line in enumerate(process.stdout, start=1):
                words = line.split()
                promised.update(zip(words[::2], words[1::2], strict=True))
                done += len(words) // 2
                if number == kill_after:
                    process.kill()  # it is anywhere in its next batch; what it still prints was promised too
    assert done == count, process.returncode


# --- random use


class AnyUse(RuleBasedStateMachine):
    """Pages and agents do anything in any order on few codes; after each step every promise is checked."""

    SESSIONS = ("p1", "p2", "p3", "p4")
    AGENTS = ("a1", "a2")
    LIMITS = StoreOptions(
        capacity=3, codes=CodeFormat(1, "01234567"), quarantine_s=50.0, wrong_codes=1000, node_wrong_codes=1000
    )

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1000.0
        url = f"sqlite:///{self.folder.name}/store.db"
        self.store = Store(url, self.LIMITS, clock=lambda: self.now, rng=random.Random(1))
        self.held: dict[str, str] = {}  # code → session
        self.rested: dict[str, float] = {}  # code → when it was last given back
        self.seen: dict[str, tuple[int, int]] = {}  # session → version, epoch

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def do(self, operation: Any) -> Any:
        with self.store.transaction() as tx:
            before = self.rows(tx)
            try:
                return operation(tx)
            except FabricError as error:
                assert self.rows(tx) == before, f"{error!r} has changed something"
                return error

    @staticmethod
    def rows(tx: Transaction) -> list[Page]:
        return [Page._make(row) for row in tx.sql.execute(select(schema.pages).order_by(schema.pages.c.session))]

    @rule(session=st.sampled_from(SESSIONS), consent=st.sampled_from(CONSENTS))
    def grant(self, session: str, consent: str) -> None:
        self.do(lambda tx: pages.grant_code(tx, session, "home", 30.0, consent))

    @rule(session=st.sampled_from(SESSIONS))
    def renew(self, session: str) -> None:
        self.do(lambda tx: pages.renew(tx, session))

    @rule(session=st.sampled_from(SESSIONS))
    def release(self, session: str) -> None:
        self.do(lambda tx: pages.release(tx, session))

    @rule(agent=st.sampled_from(AGENTS), on=st.booleans())
    def sign_in(self, agent: str, on: bool) -> None:
        self.do(lambda tx: agents.sign_in(tx, agent, agent, ["help"], 40.0))
        self.do(lambda tx: agents.set_available(tx, agent, on))

    @rule(agent=st.sampled_from(AGENTS))
    def sign_out(self, agent: str) -> None:
        self.do(lambda tx: agents.sign_out(tx, agent))

    @precondition(lambda self: self.held)
    @rule(agent=st.sampled_from(AGENTS), data=st.data())
    def join(self, agent: str, data: st.DataObject) -> None:
        code = data.draw(st.sampled_from(sorted(self.held)))
        outcome = self.do(lambda tx: pages.join(tx, agent, code, "node"))
        if isinstance(outcome, Page):
            assert outcome.session == self.held[code]
            assert outcome.cobrowse == {"ask": "asked", "code": "joined"}[outcome.consent]
            again = self.do(lambda tx: pages.join(tx, agent, code, "node"))
            assert isinstance(again, UnknownContactCode), "a code is good for one join"

    @rule(session=st.sampled_from(SESSIONS), agent=st.sampled_from(AGENTS))
    def ask(self, session: str, agent: str) -> None:
        self.do(lambda tx: asks.ask(tx, agent, session))

    @rule(session=st.sampled_from(SESSIONS), epoch=st.integers(1, 6))
    def allow(self, session: str, epoch: int) -> None:
        with self.store.transaction() as tx:
            before = {page.session: page for page in self.rows(tx)}.get(session)
        outcome = self.do(lambda tx: asks.allow(tx, session, epoch))
        if isinstance(outcome, Page) and before is not None and outcome != before:
            assert (before.cobrowse, before.epoch) == ("asked", epoch), "an answer is to the request of its epoch"
            assert (outcome.cobrowse, outcome.epoch, outcome.agent) == ("joined", epoch, before.agent)

    @rule(session=st.sampled_from(SESSIONS), agent=st.sampled_from((None, *AGENTS)), epoch=st.integers(1, 6))
    def stop(self, session: str, agent: str | None, epoch: int) -> None:
        outcome = self.do(lambda tx: pages.stop(tx, session, epoch, agent))
        if isinstance(outcome, Page):
            assert outcome.epoch > epoch
            assert outcome.cobrowse != "joined" or outcome.epoch > epoch

    @rule(session=st.sampled_from(SESSIONS), agent=st.sampled_from(AGENTS), epoch=st.integers(1, 6))
    def confirm(self, session: str, agent: str, epoch: int) -> None:
        self.do(lambda tx: pages.confirm_stop(tx, agent, session, epoch))

    @rule(session=st.sampled_from(SESSIONS), agent=st.sampled_from(AGENTS), verb=st.integers(0, 6))
    def chat(self, session: str, agent: str, verb: int) -> None:
        verbs: list[Any] = [
            lambda tx: chats.trigger(tx, session, "help"),
            lambda tx: chats.offer(tx),
            lambda tx: chats.accept(tx, agent, session),
            lambda tx: chats.decline(tx, agent, session),
            lambda tx: chats.stop(tx, session),
            lambda tx: chats.stop(tx, session, agent),
            lambda tx: chats.propose(tx, agent, session),
        ]
        self.do(verbs[verb])

    @rule(seconds=st.sampled_from((1.0, 15.0, 45.0)), sweep=st.booleans())
    def pass_time(self, seconds: float, sweep: bool) -> None:
        self.now += seconds
        if sweep:
            self.do(lambda tx: expiry.expire(tx))
            self.do(lambda tx: expiry.clean(tx))

    @invariant()
    def promises_are_kept(self) -> None:
        with self.store.transaction() as tx:
            rows = self.rows(tx)
            ledger = {row.code: row.free_at for row in tx.sql.execute(select(schema.codes))}
        holding = [page for page in rows if page.code is not None]
        held = {str(page.code): page.session for page in holding}
        assert len(held) == len(holding), "two live pages share a code"
        assert {code for code, free_at in ledger.items() if free_at is None} == set(held)
        assert sum(page.gone_at is None for page in rows) <= self.LIMITS.capacity
        for code, session in held.items():
            if self.held.get(code) != session:
                rested_s = self.now - self.rested.get(code, -1e9)
                assert rested_s >= self.LIMITS.quarantine_s, f"{code} was handed out after {rested_s} s"
        for code in set(self.held) - set(held):
            self.rested[code] = self.now
        self.held = held
        for page in rows:
            self.check(page)

    def check(self, page: Page) -> None:
        assert page.code is None or (page.cobrowse == "idle" and page.gone_at is None)
        assert (
            (page.agent is None) == (page.agent_name is None) == (page.capability is None) == (page.cobrowse == "idle")
        )
        assert (page.asked_by is not None) == (page.ask_until is not None) == (page.cobrowse == "asked")
        assert (page.chat_agent is not None) == (page.chat in ("offered", "invited", "open"))
        assert (page.queue_no is not None) == (page.chat in ("waiting", "offered"))
        assert (page.offer_until is not None) == (page.chat in ("offered", "invited"))
        version, epoch = self.seen.get(page.session, (0, 0))
        assert page.version >= version and page.epoch >= epoch
        self.seen[page.session] = (page.version, page.epoch)


AnyUse.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyUse = AnyUse.TestCase

"""The store's test bench: the same tests on SQLite and on PostgreSQL, with a clock that the test moves.

A test file says `pytest_plugins = ("tests.support.stores",)` and asks for `bench`; it then runs once on each database.
(It imports `Bench` for its types only: pytest wants to be the first to load a plugin.) Where PostgreSQL is not
installed those are skipped, and say why.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import pytest
from sqlalchemy import Double, create_engine, make_url, select, update

from nodes.store import agents, pages
from nodes.store.records import Agent, Page, StoreOptions
from nodes.store.schema import metadata
from nodes.store.store import Store
from nodes.store.transaction import Transaction
from tests.support.postgres import NoPostgres, PostgresServer, postgres_server

LEASE_S = 30.0
BEGIN_S = 1_700_000_000.0

P = ParamSpec("P")
Snapshot = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for all tests."""
    try:
        with postgres_server() as server:
            yield server
    except NoPostgres as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def bench(database: str) -> Iterator[Bench]:
    """A store on an empty database, with small limits."""
    bench = Bench(database)
    yield bench
    bench.close()


class Bench:
    """A store and its clock, with short words for what tests do often."""

    def __init__(self, url: str, **limits: Any) -> None:
        self.url = url
        self.now = BEGIN_S
        self._stores: list[Store] = []
        self.store = self.open(**limits)

    def open(self, **limits: Any) -> Store:
        """Open the database once more, as another frame node would."""
        options = StoreOptions(**{"capacity": 100, **limits})
        store = Store(self.url, options, clock=lambda: self.now, rng=random.Random(len(self._stores)))
        self._stores.append(store)
        return store

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def pass_time(self, seconds: float) -> None:
        """Let time pass. PostgreSQL's clock cannot be moved; there everything is made that much older instead."""
        self.now += seconds
        if self.url.startswith("sqlite"):
            return
        engine = create_engine(make_url(self.url).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            for table in metadata.tables.values():
                times = [c for c in table.c if isinstance(c.type, Double) and c.name != "lease_s"]
                if times:
                    connection.execute(update(table).values({c.name: c - seconds for c in times}))
        engine.dispose()

    def tables(self, *names: str) -> Snapshot:
        """Return the rows of these tables (none named: of all but what refusals leave), in order."""
        wanted = names or [name for name in metadata.tables if name not in ("attempts", "replies")]
        with self.store.transaction() as tx:
            rows = {name: tx.sql.execute(select(metadata.tables[name])).all() for name in wanted}
        return {name: sorted(map(tuple, found), key=repr) for name, found in rows.items()}

    def do(self, operation: Callable[Concatenate[Transaction, P], Any], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run one operation, with these arguments after the transaction, in one transaction."""
        with self.store.transaction() as tx:
            return operation(tx, *args, **kwargs)

    def refused(
        self, error: type[Exception], operation: Callable[[Transaction], Any], match: str | None = None
    ) -> Exception:
        """Run one operation that must raise `error` and change nothing; return the error."""
        before = self.tables()
        (outcome,) = self.store.commit_together([operation])
        with pytest.raises(error, match=match):
            if isinstance(outcome, Exception):
                raise outcome
        assert self.tables() == before, "a refused operation has changed something"
        assert isinstance(outcome, Exception)
        return outcome

    def wrong_codes_at(self, node: str) -> int:
        """How many wrong codes a frame node has counted in its present window."""
        tried = metadata.tables["attempts"]
        with self.store.transaction() as tx:
            begin = tx.now - tx.options.window_s
            found = select(tried.c.wrong).where(tried.c.who == f"node {node}", tried.c.since > begin)
            return int(tx.sql.execute(found).scalar() or 0)

    def page(self, session: str = "page", home: str = "home") -> Page:
        page: Page = self.do(lambda tx: pages.grant_code(tx, session, home, LEASE_S))
        return page

    def code(self, session: str = "page") -> str:
        """The code of a page, which begins if it must."""
        code = self.page(session).code
        assert code is not None
        return code

    def agent(self, name: str = "agent", *buttons: str, available: bool = False) -> Agent:
        self.do(lambda tx: agents.sign_in(tx, name, name.title(), buttons, LEASE_S))
        agent: Agent = self.do(lambda tx: agents.set_available(tx, name, available))
        return agent

    def joined(self, session: str = "page", agent: str = "agent") -> Page:
        """A page with a code, an agent who has just joined it."""
        code = self.code(session)
        self.agent(agent)
        page: Page = self.do(lambda tx: pages.join(tx, agent, code, "node"))
        return page

"""A keeper's store on each database: a test file says `pytest_plugins = ("tests.support.keeping",)`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodes.keep.store import KeepStore

pytest_plugins = ("tests.support.stores",)


@pytest.fixture
def kept_store(database: str) -> Iterator[KeepStore]:
    """An empty store, once on each database."""
    store = KeepStore(database)
    yield store
    store.close()

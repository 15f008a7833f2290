"""The stack that tests in browsers share: one for each file, and for each test what it opened is closed.

A file whose gateway needs further options overrides `shared`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browsers import Stack, stack


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def browsers(shared: Stack) -> Iterator[Stack]:
    with shared.scene() as found:
        yield found

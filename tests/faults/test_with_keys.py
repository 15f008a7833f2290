"""A small selection of tests that were written without keys, run with keys by everybody in them.

All of them run so by `scripts/test PATH --with-keys`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fabric import Node
from fabric.errors import NotConnected
from tests.e2e.test_ack import test_what_is_published_after_the_ack_at_another_proxy_is_never_lost as test_acks
from tests.e2e.test_ack import three as three
from tests.e2e.test_rolling_restart import (
    test_publishers_with_one_address_lose_nothing_while_their_proxy_is_restarted as test_restart,
)
from tests.faults.test_kills import test_idle_subscribers_receive_again_without_help as test_kill
from tests.faults.test_stall import (
    test_a_proxy_that_stands_still_ends_nobody_and_what_it_lost_is_reported as test_stall,
)
from tests.nodes.load.test_run import test_two_rounds_balance_and_say_what_arrived_unmatched as test_books
from tests.support.keys import variables
from tests.support.processes import ProxyProcess
from tests.support.waiting import mesh as meshed

__all__ = ["test_acks", "test_books", "test_kill", "test_restart", "test_stall"]


@pytest.fixture(scope="module", autouse=True)
def with_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(tmp_path_factory.mktemp("with") / "keys").items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def mesh(with_keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    """In place of the one that all tests share, which has no keys."""
    with meshed(tmp_path_factory.mktemp("mesh"), 2) as found:
        yield found


def test_they_have_keys_indeed(mesh: list[ProxyProcess]) -> None:
    """Else all of the above would say nothing."""
    with Node(mesh[0].base):
        pass
    with pytest.MonkeyPatch.context() as patch, pytest.raises(NotConnected, match="it may want keys"):
        patch.delenv("FABRIC_KEYS")
        Node(mesh[0].base, connect_timeout_s=2)

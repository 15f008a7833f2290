"""One client for each node that asks for histories, which ends with it."""

from __future__ import annotations

import gc
import weakref

import pytest

from fabric import Node
from fabric.errors import StateError
from fabric.services.histories import Histories
from tests.support.processes import ProxyProcess
from tests.support.waiting import until


def test_its_client_ends_with_the_node(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node:
        reader = Histories(node)
    with pytest.raises(StateError, match="closed"):
        reader.client.request("keeper", "history")


def test_a_node_that_has_read_a_history_can_go(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node:
        node.history("a/#")
        gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None


def test_a_closed_node_and_a_callback_read_no_history(mesh: list[ProxyProcess]) -> None:
    failed: list[Exception] = []

    def ask(message: object) -> None:
        try:
            node.history("a")
        except StateError as error:
            failed.append(error)

    with Node(mesh[0].base) as node:
        node.wait_ack(node.subscribe("~/a", ask), 5)
        node.publish("~/a", 1)
        until(lambda: failed, "the callback has asked")
    assert "in a callback" in str(failed[0])
    with pytest.raises(StateError, match="closed"):
        node.history("a")

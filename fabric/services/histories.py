"""What a node needs to read histories, see `fabric.node.histories`: one client, which its node closes."""

from __future__ import annotations

from typing import Any

from fabric.node.node import Node
from fabric.node.receiver import MessageFun
from fabric.node.subscriptions import AckFun
from fabric.protocol.histories import Since
from fabric.services.catch_up import CatchUp
from fabric.services.client import Client
from fabric.services.history import History


class Histories:
    """Reads histories for one node, from the first time that somebody asks it for one."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.client = Client(node)

    def history(self, topic_filter: str, **options: Any) -> History:
        """Return what keepers have; see `History`."""
        return History(self.client, topic_filter, **options)

    def catch_up(
        self, topic_filter: str, msg_fun: MessageFun, ack_fun: AckFun | None, since: Since, **options: Any
    ) -> CatchUp:
        """Subscribe, beginning with what keepers have; see `CatchUp`."""
        return CatchUp(self._node, self.client, topic_filter, msg_fun, ack_fun, since, **options)

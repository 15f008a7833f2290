"""A distributed message fabric on ZeroMQ with MQTT-style topics.

from fabric import Node
with Node("tcp://127.0.0.1:5570") as node:
    node.subscribe("truck/+/temperature", lambda message: print(message.topic, message.payload))
    node.publish("truck/0001/temperature", 21.5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fabric.node import histories
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.gaps import Gap
from fabric.node.node import Node, NodeState
from fabric.proxy.proxy import Proxy
from fabric.wire import Message

if TYPE_CHECKING:
    from fabric.node.aio import AsyncNode, AsyncSubscription

__all__ = ["Ack", "AsyncNode", "AsyncSubscription", "CoverageEvent", "Gap", "Message", "Node", "NodeState", "Proxy"]


def _reader_of(node: Node) -> histories.Reader:
    # Services are imported when somebody asks for a history.
    from fabric.services.histories import Histories

    return Histories(node)


histories.provide(_reader_of)


def __getattr__(name: str) -> Any:
    # asyncio is a third of the time that `import fabric` takes: only who asks for it pays.
    if name in ("AsyncNode", "AsyncSubscription"):
        from fabric.node import aio

        return getattr(aio, name)
    raise AttributeError(f"module 'fabric' has no attribute {name!r}")

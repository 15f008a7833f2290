"""A distributed message fabric on ZeroMQ with MQTT-style topics.

from fabric import Node
with Node("tcp://127.0.0.1:5570") as node:
    node.subscribe("truck/+/temperature", lambda message: print(message.topic, message.payload))
    node.publish("truck/0001/temperature", 21.5)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fabric.node import histories

if TYPE_CHECKING:
    from fabric.node.aio import AsyncNode, AsyncSubscription
    from fabric.node.coverage import Ack, CoverageEvent
    from fabric.node.gaps import Gap
    from fabric.node.node import Node, NodeState
    from fabric.proxy.proxy import Proxy
    from fabric.wire import Message

__all__ = ["Ack", "AsyncNode", "AsyncSubscription", "CoverageEvent", "Gap", "Message", "Node", "NodeState", "Proxy"]

_HOMES = {
    "Ack": "fabric.node.coverage",
    "AsyncNode": "fabric.node.aio",
    "AsyncSubscription": "fabric.node.aio",
    "CoverageEvent": "fabric.node.coverage",
    "Gap": "fabric.node.gaps",
    "Message": "fabric.wire",
    "Node": "fabric.node.node",
    "NodeState": "fabric.node.node",
    "Proxy": "fabric.proxy.proxy",
}
"""Where each name is defined. It is imported when it is first asked for: `import fabric.topics` needs no ZeroMQ."""


def _reader_of(node: Node) -> histories.Reader:
    # Services are imported when somebody asks for a history.
    from fabric.services.histories import Histories

    return Histories(node)


histories.provide(_reader_of)


def __getattr__(name: str) -> Any:
    """source: PEP 562"""
    if name not in _HOMES:
        raise AttributeError(f"module 'fabric' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

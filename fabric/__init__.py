"""A distributed message fabric on ZeroMQ with MQTT-style topics.

from fabric import Node
with Node("tcp://127.0.0.1:5570") as node:
    node.subscribe("truck/+/temperature", lambda message: print(message.topic, message.payload))
    node.publish("truck/0001/temperature", 21.5)
"""

from fabric.coverage import Ack, CoverageEvent
from fabric.node import Node, NodeState
from fabric.numbers import Gap
from fabric.proxy import Proxy
from fabric.wire import Message

__all__ = ["Ack", "CoverageEvent", "Gap", "Message", "Node", "NodeState", "Proxy"]

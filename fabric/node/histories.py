"""Where a node finds who reads histories for it: what does so stands on services, and these stand on nodes.

The face of `fabric` says who it is; a node asks for it only when a program wants a history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from fabric.node.receiver import MessageFun
from fabric.node.subscriptions import AckFun
from fabric.protocol.histories import Hole, Since
from fabric.wire import Message


class Kept(Protocol):
    """A history: messages, oldest first, and what the keeper never got."""

    holes: list[Hole]

    def why_nothing(self) -> str: ...

    def __iter__(self) -> Iterator[Message]: ...

    def __next__(self) -> Message: ...


class CatchingUp(Protocol):
    """A subscription that begins with a history, until it is live."""

    @property
    def subscription(self) -> int: ...

    def close(self) -> None: ...


class Reader(Protocol):
    """What reads histories for one node."""

    def history(self, topic_filter: str, **options: Any) -> Kept: ...

    def catch_up(
        self, topic_filter: str, msg_fun: MessageFun, ack_fun: AckFun | None, since: Since, **options: Any
    ) -> CatchingUp: ...


_make: Callable[[Any], Reader] | None = None


def provide(make: Callable[[Any], Reader]) -> None:
    """Say what makes the reader of a `Node`, whose module imports this one. It is called when one is first needed."""
    global _make
    _make = make


def reader_of(node: Any) -> Reader:
    """Make the reader of a `Node`."""
    assert _make is not None, "fabric/__init__.py provides it"
    return _make(node)

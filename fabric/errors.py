"""Every error of the fabric has one root, and its class says who is to blame.

    FabricError
    ├─ TopicError(ValueError)    InvalidTopic · InvalidFilter · ScopeError (a ~ or $ level that is not allowed here)
    ├─ WireError                 LocalWireError (we built it wrong) · RemoteWireError (a peer did)
    ├─ StateError                carries machine, state, event
    ├─ KeysError                 keys or rules that cannot be used
    ├─ TransportError            from zmq.ZMQError · HighWaterMarkReached · NotConnected · RequestTimeout
    │  └─ NotConnected           NotAdmitted (proxies answered, and none admits the key)
    └─ ServiceError              Busy · NotAllowed; services add their own, see `services.messages.register_error`

A message says what was wrong, with the offending value, and what was expected; `expected` words it.
"""

from __future__ import annotations

_SHOWN_CHARS = 60  # longer values are cut in messages, so that an error stays one readable line


def expected(what: str, value: object, wanted: str) -> str:
    """Return the words of an error: `invalid name 'x/y': expected 1 to 100 characters`.

    what:   what the value should have been: `name`, `level 2 of the filter`
    value:  the offending value; more than 60 characters of it are cut
    wanted: what would be right
    """
    return f"invalid {what} {shown(value)}: expected {wanted}"


def shown(value: object) -> str:
    """Return `repr(value)`, cut to 60 characters. Cost: not more for a long text than for a short one."""
    text = repr(value[:_SHOWN_CHARS] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


class FabricError(Exception):
    """Root of all errors that this project raises on purpose.

    accepted: raised by `publish_many`: so many of its messages, the first ones, were accepted
    """

    accepted = 0


class TopicError(FabricError, ValueError):
    """A topic or a filter that cannot be used as given."""


class InvalidTopic(TopicError):
    """Not a topic by the rules of `fabric.topics`."""


class InvalidFilter(TopicError):
    """Not a topic filter by the rules of `fabric.topics`."""


class ScopeError(TopicError):
    """A `~` or `$` first level that is not allowed here."""


class WireError(FabricError):
    """A part that cannot be encoded or decoded."""


class LocalWireError(WireError):
    """We were asked to build a part that the wire format does not allow."""


class RemoteWireError(WireError):
    """A peer sent bytes that are no message. `kind` is a short, stable word to count by."""

    def __init__(self, message: str, kind: str = "malformed") -> None:
        super().__init__(message)
        self.kind = kind


class StateError(FabricError):
    """An event that does not belong in the present state; nothing has changed."""

    def __init__(self, machine: str, state: str, event: str, hint: str = "") -> None:
        super().__init__(f"{machine}: {event!r} is not possible in state {state!r}{': ' + hint if hint else ''}")
        self.machine = machine
        self.state = state
        self.event = event
        self.hint = hint

    def __reduce__(self) -> tuple[type[StateError], tuple[str, str, str, str]]:
        return type(self), (self.machine, self.state, self.event, self.hint)


class KeysError(FabricError):
    """A folder of keys, or the rules in it, cannot be used; the message names the file."""


class TransportError(FabricError):
    """ZeroMQ or the operating system refused; the message carries their words."""


class HighWaterMarkReached(TransportError):
    """The queue to the proxy stayed full for the whole send time-out; the message was not accepted."""


class NotConnected(TransportError):
    """No proxy answered in time."""


class NotAdmitted(NotConnected):
    """Proxies answered, and none of them admits the key that was shown."""


class RequestTimeout(TransportError):
    """No answer came before the deadline."""


class ServiceError(FabricError):
    """A service understood the request and refused it."""


class Busy(ServiceError):
    """The service is at its capacity. `retry_after_s` says when to try again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotAllowed(ServiceError):
    """The sender may not do this."""

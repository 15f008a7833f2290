"""The messages that a browser may send, one class for each kind, as `docs/web-protocol.md` has them. Pure.

The attributes of a class are the message's fields; the metadata of each is the `Field` that says what it may hold. A
class stands for several kinds where these have the same fields. `browser_protocol` parses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from fabric.protocol.retained import MAX_EXPIRES_S
from nodes.gateway.chat_lines import is_chat
from nodes.rules.fields import (
    BUTTONS,
    CAPABILITY,
    CODE,
    EPOCH,
    MAX_WHOLE,
    ON,
    SESSION_WORDS,
    Check,
    Field,
    is_session,
    or_none,
    string,
    whole,
)


def _holds(what: Field) -> dict[str, Field]:
    """Return the metadata of an attribute that holds `what`."""
    return {"field": what}


def _of(fits: Check, expected: str, *, payload: bool = False) -> dict[str, Field]:
    return _holds(Field(fits, expected, payload=payload))


is_message_id = whole(1)
ID = _of(is_message_id, f"a whole number from 1 to {MAX_WHOLE}")
OPTIONAL_ID = _of(or_none(is_message_id), f"a whole number from 1 to {MAX_WHOLE}, or null")
TOPIC = _of(string(65_535), "a string")
MAX_FILTER_BYTES = 512
"""Every byte of a filter costs each proxy of the mesh some hundred, for as long as it is held."""
FILTER = _of(
    lambda value: isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) <= MAX_FILTER_BYTES,
    f"a string of at most {MAX_FILTER_BYTES} bytes",
)
EXPIRES = _of(or_none(whole(1, MAX_EXPIRES_S)), f"whole seconds, from 1 to {MAX_EXPIRES_S}, or null")
PAYLOAD = _of(lambda value: True, "anything", payload=True)
EVENT = _of(
    lambda value: isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"$bin"}),
    "text, or text that is compressed",
    payload=True,
)
SESSION = _of(is_session, "a session that `welcome` or an event named")


@dataclass(frozen=True, kw_only=True, slots=True)
class BrowserMessage:
    """What every message has.

    t:   its kind
    id:  the browser's number for it, which the answer repeats; None for kinds without one
    """

    t: str
    id: int | None = None


# --- from a page


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello(BrowserMessage):
    """The first message of every socket: who is there, and what it has seen."""

    v: int = field(metadata=_of(lambda value: type(value) is int and value == 1, "1, the version of the protocol"))
    origin: str = field(metadata=_of(string(500), "the origin of the page that holds the frame"))
    instance: str = field(metadata=_of(is_session, f"{SESSION_WORDS}, drawn by each document"))
    token: str | None = field(default=None, metadata=_of(or_none(string(1_000)), "the token that came last, or null"))
    seen: int | None = field(default=None, metadata=_of(or_none(whole(0)), "the last `seq`, or null"))
    buttons: tuple[str, ...] = field(default=(), metadata=_holds(BUTTONS))
    title: str | None = field(
        default=None, metadata=_of(or_none(string(1_000)), "a string of at most 1000 characters, or null")
    )
    chat: Any = field(default=None, metadata=_of(or_none(is_chat), "the chat's agent and lines, or null"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscribe(BrowserMessage):
    id: int = field(metadata=ID)
    filter: str = field(metadata=FILTER)
    retained: bool = field(default=False, metadata=_holds(ON))


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsubscribe(BrowserMessage):
    id: int = field(metadata=ID)


@dataclass(frozen=True, kw_only=True, slots=True)
class Publish(BrowserMessage):
    id: int | None = field(default=None, metadata=OPTIONAL_ID)
    topic: str = field(metadata=TOPIC)
    payload: Any = field(default=None, metadata=PAYLOAD)
    retain: bool = field(default=False, metadata=_holds(ON))
    expires_s: int | None = field(default=None, metadata=EXPIRES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Update(BrowserMessage):
    """A change of the page, for the agent in session. n: its number, from 1 in each document and session."""

    epoch: int = field(metadata=_holds(EPOCH))
    n: int | None = field(default=None, metadata=OPTIONAL_ID)
    event: str | bytes = field(metadata=EVENT)
    snapshot: bool = field(default=False, metadata=_holds(ON))


@dataclass(frozen=True, kw_only=True, slots=True)
class StopCobrowse(BrowserMessage):
    """The visitor stops co-browsing."""

    id: int = field(metadata=ID)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry(BrowserMessage):
    """After an error: ask for a contact code again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat(BrowserMessage):
    """The answer to a `beat`. n: the number of the last update that the page has made; None: not known."""

    n: int | None = field(default=None, metadata=OPTIONAL_ID)


@dataclass(frozen=True, kw_only=True, slots=True)
class DismissChat(BrowserMessage):
    """The visitor has read a chat that has ended: it is kept no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenStored(BrowserMessage):
    """The browser keeps the last token that came."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bye(BrowserMessage):
    """The visitor leaves for good."""


# --- from a console


@dataclass(frozen=True, kw_only=True, slots=True)
class Available(BrowserMessage):
    """buttons: those that the agent serves from now on; None: as before."""

    on: bool = field(metadata=_holds(ON))
    buttons: tuple[str, ...] | None = field(default=None, metadata=_of(or_none(BUTTONS.fits), BUTTONS.expected))


@dataclass(frozen=True, kw_only=True, slots=True)
class Join(BrowserMessage):
    id: int = field(metadata=ID)
    code: str = field(metadata=_holds(CODE))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask(BrowserMessage):
    """The agent asks the visitor of its chat."""

    id: int = field(metadata=ID)
    session: str = field(metadata=SESSION)
    capability: str = field(default="view", metadata=_holds(CAPABILITY))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest(BrowserMessage):
    """What the agent asks the frame node for; `t` is the operation."""

    id: int = field(metadata=ID)
    session: str = field(metadata=SESSION)


@dataclass(frozen=True, kw_only=True, slots=True)
class EndCobrowse(BrowserMessage):
    """The agent stops co-browsing, or takes its request back."""

    id: int = field(metadata=ID)
    session: str = field(metadata=SESSION)


@dataclass(frozen=True, kw_only=True, slots=True)
class Say(BrowserMessage):
    id: int = field(metadata=ID)
    session: str = field(metadata=SESSION)
    text: str = field(metadata=_of(string(20_000), "a string of at most 20000 characters"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Dismiss(BrowserMessage):
    """The agent has read a chat that has ended: it is kept no more."""

    session: str = field(metadata=SESSION)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot(BrowserMessage):
    """The page is to send all of itself."""

    session: str = field(metadata=SESSION)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown(BrowserMessage):
    """The page is on the agent's screen."""

    session: str = field(metadata=SESSION)
    epoch: int = field(metadata=_holds(EPOCH))


@dataclass(frozen=True, kw_only=True, slots=True)
class Handled(BrowserMessage):
    """confirm: the number of a `confirm` whose session is no longer shown."""

    confirm: int = field(metadata=ID)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping(BrowserMessage):
    at: float = field(metadata=_of(lambda value: type(value) in (int, float) and abs(value) < 2**63, "a number"))


PageMessage = (
    Hello | Subscribe | Unsubscribe | Publish | Update | StopCobrowse | Retry | Beat | DismissChat | TokenStored | Bye
)
AgentMessage = Available | Join | Ask | ChatRequest | EndCobrowse | Say | Dismiss | Snapshot | Shown | Handled | Ping

PAGE: Mapping[str, type[PageMessage]] = {
    "hello": Hello,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "publish": Publish,
    "update": Update,
    "stop": StopCobrowse,
    "retry": Retry,
    "beat": Beat,
    "dismiss": DismissChat,
    "token": TokenStored,
    "bye": Bye,
}
AGENT: Mapping[str, type[AgentMessage]] = {
    "available": Available,
    "join": Join,
    "ask": Ask,
    **dict.fromkeys(("accept", "decline", "stop_chat", "proactive"), ChatRequest),
    "stop": EndCobrowse,
    "say": Say,
    "dismiss": Dismiss,
    "snapshot": Snapshot,
    "shown": Shown,
    "handled": Handled,
    "ping": Ping,
}


def fields_of(kind: type[BrowserMessage]) -> dict[str, tuple[Field, bool]]:
    """Return the fields that a browser may send in a message: name -> what it holds, whether it must be there."""
    return {
        each.name: (each.metadata["field"], each.default is MISSING)
        for each in fields(kind)
        if "field" in each.metadata
    }

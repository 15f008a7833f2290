"""What all browsers of a gateway share: its node, its settings, the way from the node's thread to the event loop.

Callbacks of the fabric come in the node's I/O thread. They put messages into an outbox, and `wake` its window: the
windows that were woken together cross to the event loop by one call. Whatever else is here is used in the event loop
only.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fabric.node.coverage import CoverageEvent
from fabric.node.node import Node, NodeState
from fabric.payloads import dumps, to_json
from fabric.wire import Message
from nodes.gateway.budgets import Budgets, Shares
from nodes.gateway.forwarded import Proxies
from nodes.gateway.limits import Limits
from nodes.gateway.policy import Policy
from nodes.gateway.privacy_problems import PrivacyProblems
from nodes.gateway.privacy_rules import Rules
from nodes.rules.backoff import Backoff


@dataclass(frozen=True)
class Settings:
    """How a gateway runs.

    secret:     signs tokens and cookies; gateways that share it take each other's
    consent:    one of `cobrowse.CONSENTS`: whether a visitor is asked when an agent has the code of the page
    resume_s:   how long a session waits for its page to come back
    lease_s:    how long the frame node keeps a page without a heartbeat of its gateway
    max_pages:  sockets at most, and a twentieth more for sessions that come back
    max_of_address: sessions of one address, `addresses.host_of`, at most: those with a browser, and those that have had
                an agent and wait for their browser. A network has twice as many
    shares:     what the browsers of one address may cost together
    agent_s:    how long an agent whose console is gone stays signed in
    confirm_s:  how long a console may take to say that it shows no update of a stopped session any more
    beat_s:     how often a browser hears something, and is asked whether it is still there
    proxies:    that pass requests on, and say in headers whose they are; None: there is none
    public_url: this gateway's origin as browsers see it; None: the one that they ask for
    is_loopback: whether only this machine can ask
    """

    secret: bytes
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    backoff: Backoff = field(default_factory=Backoff)
    consent: str = "ask"
    resume_s: float = 30.0
    lease_s: float = 30.0
    max_pages: int = 10_000
    max_of_address: int = 1_000
    shares: Shares = field(default_factory=Shares)
    agent_s: float = 15.0
    confirm_s: float = 5.0
    beat_s: float = 20.0
    proxies: Proxies | None = None
    public_url: str | None = None
    is_loopback: bool = False


class Sleeper(Protocol):
    """A window, called in the event loop when something waits for it."""

    is_woken: bool

    def woken(self) -> None: ...


class Hub:
    """Made in the event loop, on a node that is connected."""

    def __init__(self, node: Node, settings: Settings, rules: Rules | None = None) -> None:
        self.node, self.settings = node, settings
        self.rules = rules or Rules()
        """The operator's, on what leaves pages. Replaced, never changed, by `Gateway.set_rules` in the event loop."""
        self.loop = asyncio.get_running_loop()
        self.counts: Counter[str] = Counter()
        """What browsers were refused, limited or closed for, by kind. Only goes up, in the event loop;
        `after_the_end` in any thread."""
        self.budgets = Budgets(settings.limits, settings.shares)
        """Of the browsers of each host and network. Used in the event loop."""
        self.privacy_problems = PrivacyProblems(self.counts)
        self.opened = 0
        """Sockets that were welcomed. Only goes up, by `Window.take_over`."""
        self.on_connection: list[Callable[[str], object]] = []
        """Called in the event loop with a message that says what the fabric reaches now. Complete before the first
        browser comes."""
        self._lock = threading.Lock()
        """Held for `_woken` and every sleeper's `is_woken`. No other lock is taken within."""
        self._woken: list[Sleeper] = []
        """Those whose `is_woken` is set. While it is not empty a call of `_wake_all` is on its way."""
        self._last: tuple[Message, int, str] | None = None
        """The last message of the fabric, the id it was for, and its text. Used in the node's I/O thread only."""
        stats = node.stats()
        self.connection: dict[str, Any] = {
            "connected": stats["state"] == "connected",
            "covered": stats["covered"],
            "missing": stats["missing"],
        }
        """What the fabric reaches, as browsers are told it. Replaced, never changed, in the event loop."""
        node.on_state(self._on_state)
        node.on_coverage(self._on_coverage)

    # ── from any thread ──────────────────────────────────────────────────────────────────────────────────────────

    def wake(self, sleeper: Sleeper) -> None:
        """Have `sleeper.woken()` called in the event loop, once for all calls until then."""
        with self._lock:
            if sleeper.is_woken:
                return
            sleeper.is_woken = True
            self._woken.append(sleeper)
            first = len(self._woken) == 1
        if first:
            self.call(self._wake_all)

    def call(self, fun: Callable[..., object], *args: object) -> None:
        """Call in the event loop; nothing when that has ended."""
        try:
            self.loop.call_soon_threadsafe(fun, *args)
        except RuntimeError:
            self.counts["after_the_end"] += 1

    def fabric_text(self, message: Message, ident: int) -> str:
        """Return what a browser is told of a message of the fabric. The same one for many pages is encoded once."""
        last = self._last
        if last is not None and last[0] is message and last[1] == ident:
            return last[2]
        told = {
            "t": "message",
            "ids": [ident],
            "topic": message.topic,
            "payload": to_json(message.payload),
            "number": message.number,
            "publisher": str(message.publisher),
            "sent_ns": str(message.sent_ns),
            **({"retained": True} if "retained" in message.headers else {}),
        }
        text = numbered(told)
        self._last = (message, ident, text)
        return text

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _wake_all(self) -> None:
        with self._lock:
            woken, self._woken = self._woken, []
            for sleeper in woken:
                sleeper.is_woken = False
        for sleeper in woken:
            sleeper.woken()

    def _on_state(self, state: NodeState) -> None:
        self.call(self._connection, {"connected": state.state == "connected"})

    def _on_coverage(self, event: CoverageEvent) -> None:
        self.call(self._connection, {"covered": list(event.covered), "missing": list(event.missing)})

    def _connection(self, change: dict[str, Any]) -> None:
        if change.items() <= self.connection.items():
            return
        self.connection = {**self.connection, **change}
        text = dumps({"t": "connection", **self.connection})
        for tell in list(self.on_connection):
            tell(text)


def numbered(message: dict[str, Any]) -> str:
    """Return a message as an outbox takes it to number it: JSON without the opening brace."""
    return dumps(message)[1:]

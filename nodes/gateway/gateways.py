"""The other gateways that share this one's secret: what is told them, what they say, and what they are asked.

    gateways = Gateways(hub)
    gateways.on("window", lambda agent: …)        # called in the event loop with what another one says under this word
    gateways.tell("window", "ada")
    gateways.answer("origin", answer)             # called with what one asks; returns a map
    await gateways.ask(home, "origin", {…}, 4.0)

All of it are sealed messages on one topic, `GATEWAYS`, which a gateway may say and hear by its rights. Each says every
second that it is there; one that has not for a while, or says that it ends, is taken for dead.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fabric.errors import RequestTimeout, TransportError
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.gateway.hub import Hub
from nodes.gateway.news import Opener, sealed
from nodes.rules.topics import GATEWAYS

log = logging.getLogger("nodes.gateway")

ALIVE_S = 5.0
"""One that was silent for longer is taken for dead."""
MAX_HOMES = 1_000
MAX_ANSWERING = 1_000
"""Questions that are answered at once; more are not heard."""

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class Gateways:
    """Made in the event loop, and used there but for `wait_ready`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._opener = Opener(hub.settings.secret, hub.node.home)
        self._handlers: dict[str, Callable[[Any], object]] = {}
        """By the word under which something is said. Complete before the first browser comes."""
        self._answers: dict[str, Answer] = {}
        """By what is asked. Complete before the first browser comes."""
        self._heard_at: dict[str, float] = {}
        """When each of the others was heard last, on the monotonic clock; at most `MAX_HOMES`."""
        self._asked: dict[str, asyncio.Future[dict[str, Any]]] = {}
        """Questions of this one that have no answer yet, by id."""
        self._answering: set[asyncio.Task[None]] = set()
        """Questions of others that are being answered; at most `MAX_ANSWERING`."""
        self._ready = threading.Event()
        """Set once, when the mesh has acknowledged that what others say comes here."""
        self.on("here", lambda _: None)
        self.on("who", lambda _: self.tell("here", None))
        self.on("ask", self._is_asked)
        self.on("answer", self._is_answered)
        hub.node.subscribe(GATEWAYS, self._on_message, self._on_ack)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────

    def on(self, word: str, handler: Callable[[Any], object]) -> None:
        self._handlers[word] = handler

    def tell(self, word: str, what: Any) -> bool:
        """Tell the others. Does not wait; False when it cannot leave now: that is logged, and it is lost."""
        said = sealed(self._hub.settings.secret, {word: what}, self._hub.node.home, time.time(), secrets.token_hex(8))
        try:
            self._hub.node.publish_system(GATEWAYS, said, timeout_s=0)
        except TransportError as error:
            log.warning("other gateways have not heard of %s: %s", word, error)
            return False
        return True

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until others can be heard. Not in the event loop."""
        return self._ready.wait(timeout_s)

    def tick(self, now: float) -> None:
        """About every second."""
        self.tell("here", None)
        self._heard_at = {home: at for home, at in self._heard_at.items() if now - at < ALIVE_S}

    def end(self) -> None:
        """This one ends: it is not waited for."""
        self.tell("gone", None)
        for task in self._answering:
            task.cancel()

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────

    def is_alive(self, home: str) -> bool:
        """Whether the gateway of this home was heard lately."""
        at = self._heard_at.get(home)
        return at is not None and time.monotonic() - at < ALIVE_S

    def answer(self, what: str, answer: Answer) -> None:
        """Have questions of this kind answered."""
        self._answers[what] = answer

    async def ask(self, home: str, what: str, body: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """Return what the gateway of this home answers. Errors: RequestTimeout."""
        ident = secrets.token_hex(8)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[ident] = future
        try:
            async with asyncio.timeout(deadline_s):
                self.tell("ask", {"to": home, "id": ident, "what": what, "body": body})
                return await future
        except TimeoutError:
            raise RequestTimeout(f"gateway {home} has not answered within {deadline_s:g} s") from None
        finally:
            del self._asked[ident]

    def _is_asked(self, said: Any) -> None:
        match said:
            case {"to": self._hub.node.home, "id": str(ident), "what": str(what), "body": dict(body)}:
                answer = self._answers.get(what)
                if answer is not None and len(self._answering) < MAX_ANSWERING:
                    task = asyncio.create_task(self._reply(ident, answer, body))
                    self._answering.add(task)
                    task.add_done_callback(self._answering.discard)

    async def _reply(self, ident: str, answer: Answer, body: dict[str, Any]) -> None:
        try:
            found = await answer(body)
        except (KeyError, TypeError) as error:  # one of another version asks
            log.warning("a question of another gateway has no answer: %r", error)
            return
        self.tell("answer", {"id": ident, "body": found})

    def _is_answered(self, said: Any) -> None:
        match said:
            case {"id": str(ident), "body": dict(body)} if ident in self._asked and not self._asked[ident].done():
                self._asked[ident].set_result(body)

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_ack(self, ack: Ack) -> None:
        """In the node's I/O thread."""
        if ack.ok:
            self._ready.set()
            self._hub.call(self.tell, "who", None)

    def _on_message(self, message: Message) -> None:
        """In the node's I/O thread."""
        if not self._opener.is_own(message.payload):
            self._hub.call(self._heard, message.payload)

    def _heard(self, payload: object) -> None:
        opened = self._opener.opened(payload, time.time())
        if opened is None:
            self._hub.counts["unsealed_news"] += 1
            return
        home, said = opened
        if "gone" in said:
            self._heard_at.pop(home, None)
        elif home in self._heard_at or len(self._heard_at) < MAX_HOMES:
            self._heard_at[home] = time.monotonic()
        for word, what in said.items():
            handler = self._handlers.get(word)
            if handler is not None:
                handler(what)

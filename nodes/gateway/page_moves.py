"""What gateways ask each other of page sessions: to let one go; of which site its page is. Here they are answered, too.

One that does not answer is taken for dead: its sessions are taken over as they are, since all their state is at the
frame node.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from fabric.errors import RequestTimeout
from fabric.services.presence import Watcher
from nodes.gateway.gateways import Gateways
from nodes.gateway.hub import Hub
from nodes.rules.topics import FRAME_SERVICE

log = logging.getLogger("nodes.gateway")

MOVE_S = 4.0
"""How long another gateway may take to let a session go; then it is taken for dead."""
SILENT_S = 10.0
"""So long it is not asked again."""
MAX_MOVES = 3
"""So many gateways are asked, one after the other, where a session went."""
MAX_MOVED = 10_000
"""Sessions that went elsewhere and are remembered; of more, the one that went first is forgotten."""

LetGo = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
OriginOf = Callable[[str], str | None]


class Moves:
    """The other gateways. Made in the event loop, and used there.

    gateways: how they are asked
    let_go:  called in the event loop with what another gateway asks (`session`, `generation` and `instance` of the
             browser that it has, `home` of its own); returns `moved_to`, where the session is known to be, or `why` it
             is not let go; neither when it was
    origin_of:  called in the event loop; returns the origin of a session's page, None for one that is not here
    """

    def __init__(self, hub: Hub, gateways: Gateways, let_go: LetGo, origin_of: OriginOf) -> None:
        self._hub, self._gateways, self._origin_of = hub, gateways, origin_of
        self._moved: OrderedDict[str, str] = OrderedDict()
        """Sessions that were let go here, in that order, and the home that has each; none of them is here."""
        self._silent: dict[str, float] = {}
        """Homes that did not answer, and when, on the monotonic clock. An entry is dropped when it is looked at after
        `SILENT_S`; there are as many as gateways that died."""
        self._frames = Watcher(hub.node)
        self._frames.watch(FRAME_SERVICE)
        gateways.answer("let_go", let_go)
        gateways.answer("origin", self._say_origin)

    def close(self) -> None:
        """Look for frame nodes no more. Not in the event loop."""
        self._frames.close()

    def went(self, session: str, home: str) -> None:
        """A session was let go to another gateway."""
        self._moved[session] = home
        while len(self._moved) > MAX_MOVED:
            self._moved.popitem(last=False)

    def came(self, session: str) -> None:
        """A session is here."""
        self._moved.pop(session, None)

    def frame_node_lives(self) -> bool:
        """Whether any frame node is announced."""
        return bool(self._frames.live(FRAME_SERVICE))

    def home_of(self, session: str) -> str | None:
        """Return the gateway that a session went to; None when it did not, or this is forgotten."""
        return self._moved.get(session)

    async def fetch(self, session: str, generation: int, instance: str, home: str) -> str | None:
        """Have the gateway where a session lives let it go; None: it has, or is dead; else why not.

        generation, instance:  of the token and the document of the browser that is here
        home:                  where the session was last heard of, another gateway than this
        """
        own = self._hub.node.home
        body = {"session": session, "generation": generation, "instance": instance, "home": own}
        for _ in range(MAX_MOVES):
            if home == own or not self._answers(home):
                return None
            try:
                answer = await self._gateways.ask(home, "let_go", body, MOVE_S)
            except RequestTimeout as error:
                log.info("gateway %s did not answer, its session is taken over: %s", home, error)
                self._silent[home] = time.monotonic()
                return None
            if answer.get("moved_to") is None:
                why = answer.get("why")
                return why if isinstance(why, str) else None
            home = str(answer["moved_to"])
        return "unknown"

    async def origin(self, session: str, home: str) -> str | None:
        """Return the origin of a session's page, which the gateway that has it has verified; None: not known."""
        if home == self._hub.node.home:
            return self._origin_of(session)
        if not self._answers(home):
            return None
        try:
            answer = await self._gateways.ask(home, "origin", {"session": session}, MOVE_S)
        except RequestTimeout as error:
            log.info("gateway %s did not say of which site a page is: %s", home, error)
            return None
        origin = answer.get("origin")
        return origin if isinstance(origin, str) else None

    def _answers(self, home: str) -> bool:
        """Whether a gateway may live: it was heard, and has answered when it was last asked."""
        silent_at = self._silent.get(home)
        if silent_at is not None and time.monotonic() - silent_at > SILENT_S:
            del self._silent[home]
            silent_at = None
        return silent_at is None and self._gateways.is_alive(home)

    async def _say_origin(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Another gateway asks."""
        return {"origin": self._origin_of(str(asked["session"]))}

"""What gateways ask each other of page sessions: to let one go; of which site its page is. Here they are answered, too.

Gateways find each other as services, `gateway-<home>`. One that does not answer is taken for dead: its sessions are
taken over as they are, since all their state is at the frame node.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from fabric.errors import FabricError, NotAllowed, StateError
from fabric.services import Client, Request, Server, each
from fabric.services.presence import Watcher
from nodes.gateway.hub import Hub
from nodes.gateway.tokens import secret_of
from nodes.rules.fields import is_number
from nodes.rules.proofs import FRESH_S, key_of, proven_request, proves_request
from nodes.rules.topics import FRAME_SERVICE

log = logging.getLogger("nodes.gateway")

MOVE_S = 4.0
"""How long another gateway may take to let a session go, longer than it is announced; then it is taken for dead."""
SILENT_S = 10.0
"""So long it is not asked again; by then its announcements have ended."""
MAX_MOVES = 3
"""So many gateways are asked, one after the other, where a session went."""
MAX_MOVED = 10_000
"""Sessions that went elsewhere and are remembered; of more, the one that went first is forgotten."""

LetGo = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
OriginOf = Callable[[str], str | None]


class Moves:
    """The other gateways. Made in the event loop, and used there.

    let_go:  called in the event loop with what another gateway asks (`session`, `generation` and `instance` of the
             browser that it has, `home` of its own); returns `moved_to`, where the session is known to be, or `why` it
             is not let go; neither when it was
    origin_of:  called in the event loop; returns the origin of a session's page, None for one that is not here
    """

    def __init__(self, hub: Hub, let_go: LetGo, origin_of: OriginOf) -> None:
        self._hub, self._let_go, self._origin_of = hub, let_go, origin_of
        self._moved: OrderedDict[str, str] = OrderedDict()
        """Sessions that were let go here, in that order, and the home that has each; none of them is here."""
        self._silent: dict[str, float] = {}
        """Homes that did not answer, and when, on the monotonic clock. An entry is dropped when it is looked at after
        `SILENT_S`; there are as many as gateways that died."""
        self._key = key_of(secret_of(hub.settings.secret, "gateways", ""))
        """Of all gateways with this secret: proves that they ask each other. Does not change."""
        self._client = Client(hub.node)
        self._others = Watcher(hub.node)
        self._others.watch()
        self._server = Server(hub.node, _service(hub.node.home), each(self._serve), workers=4)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until other gateways can ask here. Not in the event loop."""
        return self._server.wait_ready(timeout_s)

    def close(self) -> None:
        """Ask no more, and answer no more. Not in the event loop."""
        self._server.close()
        self._others.close()
        self._client.close()

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
        return bool(self._others.live(FRAME_SERVICE))

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
                answer = await self._ask(home, "let_go", body)
            except FabricError as error:
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
            answer = await self._ask(home, "origin", {"session": session})
        except FabricError as error:
            log.info("gateway %s did not say of which site a page is: %s", home, error)
            return None
        origin = answer.get("origin")
        return origin if isinstance(origin, str) else None

    async def _ask(self, home: str, operation: str, body: dict[str, Any]) -> Any:
        """Ask another gateway, with a proof by the secret that they share. Errors: FabricError."""
        asked = proven_request(self._key, operation, body, time.time(), secrets.token_hex(16))
        return await self._client.request_async(_service(home), operation, asked, deadline_s=MOVE_S)

    def _answers(self, home: str) -> bool:
        """Whether a gateway may live: it is announced, and has answered when it was last asked."""
        silent_at = self._silent.get(home)
        if silent_at is not None and time.monotonic() - silent_at > SILENT_S:
            del self._silent[home]
            silent_at = None
        return silent_at is None and bool(self._others.live(_service(home)))

    def _serve(self, request: Request) -> dict[str, Any]:
        """In a worker thread: another gateway asks."""
        if request.op not in ("let_go", "origin"):
            raise StateError("gateway", "serving", request.op, "expected let_go or origin")
        body = request.body if isinstance(request.body, dict) else {}
        at = body.get("at")
        is_fresh = is_number(at) and abs(time.time() - float(str(at))) <= FRESH_S
        if not is_fresh or not proves_request(self._key, request.op, body):
            raise NotAllowed(f"{request.op}: expected a request by a gateway that has the same secret, of late")

        async def answer() -> dict[str, Any]:
            if request.op == "origin":
                return {"origin": self._origin_of(str(request.body["session"]))}
            return await self._let_go(request.body)

        return asyncio.run_coroutine_threadsafe(answer(), self._hub.loop).result(2 * MOVE_S)


def _service(home: str) -> str:
    return f"gateway-{home}"

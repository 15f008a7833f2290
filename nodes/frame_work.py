"""What one request does to the store, and whom it concerns: between the checks of `frame_api` and the store.

A `Work` may be run more than once before it is committed, so it starts anew each time; what it touched is told to
others only after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from fabric.errors import LeaseExpired, NotAllowed
from fabric.replies import Request
from nodes import frame_api
from nodes.contact_codes import CodeFormat
from nodes.records import Agent, Change, Page
from nodes.store import Transaction

MAX_RENEWED = 1_000
"""Pages that one `renew_many` may renew."""
_READS = frozenset({"renew", "renew_many", "renew_agent", "buttons_available"})
"""Operations that are the same when done twice: no reply is kept for them."""
_OFFERS = frozenset({"trigger", "sign_in", "availability", "sign_out", "decline", "stop_chat"})
"""After these a waiting chat may have found its agent."""
_AVAILABILITY = frozenset({"sign_in", "availability", "sign_out"})


@dataclass
class Touched:
    """What changed in a transaction: pages by session, the agents to be told of each, and what to look at next."""

    pages: dict[str, Page] = field(default_factory=dict)
    agents: dict[str, set[str]] = field(default_factory=dict)
    offers: bool = False
    availability: bool = False

    def page(self, page: Page, also: Iterable[str] = ()) -> None:
        self.pages[page.session] = page
        concerned = {page.agent, page.chat_agent, *also} - {None}
        self.agents.setdefault(page.session, set()).update(name for name in concerned if name is not None)

    def change(self, change: Change) -> None:
        if change.page is not None:
            self.page(change.page, change.agents)
        self.offers = self.offers or change.what in ("agent_gone", "chat_requeued", "chat_closed")
        self.availability = self.availability or change.what == "agent_gone"

    def merge(self, other: Touched) -> None:
        for session, page in other.pages.items():
            held = self.pages.get(session)
            self.page(page if held is None or page.version >= held.version else held, other.agents[session])
        self.offers = self.offers or other.offers
        self.availability = self.availability or other.availability


class Work:
    """One request, to be run in a transaction. `touched` holds, after the last run, whom it concerns."""

    def __init__(self, request: Request, codes: CodeFormat, node: str) -> None:
        self._request, self._codes, self._node = request, codes, node
        self.touched = Touched()

    def __call__(self, tx: Transaction) -> Any:
        """Run it. Errors: FabricError of any kind, and then nothing has changed."""
        self.touched = Touched()
        operation, body = self._request.op, self._request.body
        if operation == "renew_many":
            return self._renew_many(tx, body)
        arguments = frame_api.parse(operation, body, self._codes)
        if operation in _READS:
            return self._do(tx, operation, arguments)
        # Retries of one request have one key, whichever frame node they reach.
        asked = {"operation": operation, "arguments": arguments}
        return tx.once(self._request.key, asked, lambda: self._do(tx, operation, arguments))

    def _do(self, tx: Transaction, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        call: Callable[..., Any] = getattr(tx, operation)
        if operation == "join":
            arguments = {**arguments, "node": self._node}
        outcome = call(**arguments)
        self.touched.offers = operation in _OFFERS
        self.touched.availability = operation in _AVAILABILITY
        if isinstance(outcome, Page):
            agent = arguments.get("agent")
            if operation not in _READS:  # whoever asks is told as well, also when the page has let it go by this
                self.touched.page(outcome, () if agent is None else (agent,))
            return frame_api.for_page(outcome) if agent is None else frame_api.for_agent(outcome)
        if isinstance(outcome, Agent):
            return agent_map(outcome)
        if operation == "buttons_available":
            return dict(outcome)
        for change in [outcome] if isinstance(outcome, Change) else outcome or []:
            self.touched.change(change)
        return {}

    def _renew_many(self, tx: Transaction, body: object) -> dict[str, Any]:
        sessions = body.get("sessions") if isinstance(body, dict) else None
        if not isinstance(sessions, list) or len(sessions) > MAX_RENEWED:
            raise NotAllowed(f"renew_many: field 'sessions' must be a list of at most {MAX_RENEWED} session ids")
        pages: dict[str, Any] = {}
        for session in sessions:
            arguments = frame_api.parse("renew", {"session": session}, self._codes)
            try:
                pages[session] = frame_api.for_page(tx.renew(**arguments))
            except LeaseExpired:
                pages[session] = None
        return {"pages": pages}


def agent_map(agent: Agent) -> dict[str, Any]:
    """Return an agent's state as it leaves the frame node."""
    return {
        "agent": agent.agent,
        "name": agent.name,
        "available": agent.available,
        "buttons": list(agent.buttons),
        "lease_s": agent.lease_s,
        "pages": [frame_api.for_agent(page) for page in agent.pages],
    }

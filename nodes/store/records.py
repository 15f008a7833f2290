"""What the store keeps and hands out, as plain values: a page, an agent, a change, and the store's limits.

A `Page` is the whole row. Operations read one, compute the next with the machines' tables, and save it; only then does
anyone hear of it. `version` grows by one with every change, so a listener sees whether it has missed something.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

from fabric.errors import expected
from nodes.rules import chat, cobrowse, visibility
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.contact_codes import CodeFormat


class Page(NamedTuple):
    """One page session, as its row. A change is a `_replace`, which `rows.save_page` writes under the next version.

    session:     the page session's name, which follows from its key. Never changes
    home:        where the page's topics are: the token of its host's node. `grant_code` changes it after a move
    version:     1 with the first code, and one more with each change but a renewal; goes on when the page comes back
    code:        the contact code that it holds; None while an agent asks or is in session, while none was free, and
                 when gone
    lease_s:     how long a renewal is good for, in seconds; the page chose it at `grant_code`
    lease_until: when its lease ends, in seconds of the store's clock; every renewal moves it
    gone_at:     when it closed or its lease was found over, in seconds of the store's clock; None while it is live
    cobrowse:    state of `rules.cobrowse`
    epoch:       number of its present or next co-browsing session, from 1; never falls
    agent:       who asks or is in session; None exactly while `cobrowse` is `idle`
    consent:     one of `cobrowse.CONSENTS`: whether who has the code must ask its visitor; `grant_code` sets it
    agent_name:  how that agent was called at its request or join, as the visitor reads it; None with `agent`
    capability:  what that agent asks for, or was allowed; None with `agent`
    asked_by:    `code` or `chat`, how that agent has found the page; None but while `cobrowse` is `asked`
    ask_until:   when the request is over if nobody answers, in seconds of the store's clock; None with `asked_by`
    refusal:     one of `cobrowse.REASONS`: how the last request ended that was not allowed; None once there is another
    visibility:  state of `rules.visibility`
    chat:        state of `rules.chat`
    button:      the chat button in whose queue it is or was; None outside a chat, and in one that an agent proposed
    chat_agent:  who was offered the chat, proposed it, or is in it; None in every other state
    queue_no:    its place in the queue, the lowest is first; None but while the chat is `waiting` or `offered`
    offer_until: when the offer or the proposal ends, in seconds of the store's clock; None but while the chat is
                 `offered` or `invited`
    host:        who has last asked for it with its key: a name of the page host's, as long as that runs
    begun_at:    when it began, or came back, in seconds of the store's clock
    key:         what proves that a request is the page's, see `rules.proofs`; a hash of its secret. Never changes
    """

    session: str
    home: str
    version: int
    code: str | None
    lease_s: float
    lease_until: float
    gone_at: float | None
    cobrowse: str
    epoch: int
    agent: str | None
    consent: str
    agent_name: str | None
    capability: str | None
    asked_by: str | None
    ask_until: float | None
    refusal: str | None
    visibility: str
    chat: str
    button: str | None
    chat_agent: str | None
    queue_no: int | None
    offer_until: float | None
    key: str
    host: str
    begun_at: float

    def is_live(self, now: float) -> bool:
        """Say whether its lease still runs at `now` (store's clock)."""
        return self.gone_at is None and self.lease_until > now

    def engaged(self) -> tuple[str, ...]:
        """Return the agents who ask it, are in session or in chat with it, each once."""
        return tuple(dict.fromkeys(agent for agent in (self.agent, self.chat_agent) if agent is not None))

    def cobrowsing(self) -> Cobrowse:
        """Return its co-browsing as the machine knows it."""
        return Cobrowse(self.cobrowse, self.epoch)

    def with_cobrowsing(self, after: Cobrowse) -> Page:
        """Return the page in that state; what belongs to a request ends with it, and the agent leaves at `idle`."""
        is_idle, is_asked = after.state == "idle", after.state == "asked"
        return self._replace(
            cobrowse=after.state,
            epoch=after.epoch,
            agent=None if is_idle else self.agent,
            agent_name=None if is_idle else self.agent_name,
            capability=None if is_idle else self.capability,
            asked_by=self.asked_by if is_asked else None,
            ask_until=self.ask_until if is_asked else None,
        )

    def after_visibility(self, event: str) -> Page:
        """Return the page after `show`, `minimise` or `hide`; StateError if that is not possible."""
        return self._replace(visibility=visibility.MACHINE.after(self.visibility, event))

    def after_chat(self, event: str) -> Page:
        """Return the page after an event of its chat; StateError if that does not belong.

        What no longer holds is cleared: the agent and the offer's end outside a chat, the place in the queue after it.
        """
        state = chat.MACHINE.after(self.chat, event)
        return self._replace(
            chat=state,
            chat_agent=self.chat_agent if state in ("offered", "invited", "open") else None,
            offer_until=self.offer_until if state in ("offered", "invited") else None,
            queue_no=self.queue_no if state in ("waiting", "offered") else None,
            button=self.button if state not in ("idle", "closed") else None,
        )


def new_page(
    session: str, home: str, lease_s: float, now: float, consent: str = "code", key: str = "", host: str = ""
) -> Page:
    """Return a page as it begins, with no code yet."""
    return Page(
        session=session,
        home=home,
        version=0,
        code=None,
        lease_s=lease_s,
        lease_until=now + lease_s,
        gone_at=None,
        cobrowse=cobrowse.MACHINE.start,
        epoch=1,
        agent=None,
        consent=consent,
        agent_name=None,
        capability=None,
        asked_by=None,
        ask_until=None,
        refusal=None,
        visibility=visibility.MACHINE.start,
        chat=chat.MACHINE.start,
        button=None,
        chat_agent=None,
        queue_no=None,
        offer_until=None,
        key=key,
        host=host,
        begun_at=now,
    )


class Agent(NamedTuple):
    """One agent that is signed in, as it was read from the store; nothing writes it back.

    agent:     the agent's id, chosen where agents are known by it; never changes
    name:      what visitors read; `sign_in` changes it
    available: whether the agent takes chats; False when it signs in, then `set_available` rules
    lease_s:   how long a renewal is good for, in seconds; chosen at `sign_in`
    buttons:   the chat buttons that it serves, sorted; `sign_in` changes them
    pages:     every page that it is engaged with: asked, joined, stopping, offered, invited or in chat; in no order
    """

    agent: str
    name: str
    available: bool
    lease_s: float
    buttons: tuple[str, ...]
    pages: tuple[Page, ...]


class Change(NamedTuple):
    """What became of one page or agent; the frame node tells the others after the commit.

    what:    `page_gone`, `agent_gone`, `stopped` (co-browsing ended with its agent), `ask_over` (a request ended that
             nobody has answered, or with its agent), `chat_requeued`, `chat_lapsed` (a proposal that nobody has
             answered), `chat_closed`
    page:    the page as it is now; None for `agent_gone`
    agents:  ids of whom it concerns: the agents that were in session or chat with the page, or the one that is gone
    key:     of the agent that is gone: what it is told of its end is proven by that; "" for all else
    """

    what: str
    page: Page | None
    agents: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True)
class StoreOptions:
    """Limits of the store. Frame nodes on one database must be given the same. Times are in seconds.

    capacity:           live pages, default 10,000. A page in session holds no code but keeps its place for the next
                        The last tenth is for page hosts that have been there for `window_s`, each up to its share
    quarantine_s:       how long a code rests after use, default 600: longer than anyone keeps a number in mind
    busy_retry_after_s: what a page is told to wait when there is no place, default 2
    wrong_codes:        an agent's wrong codes within `window_s` before it is locked out for `lockout_s`; default 5 in
                        60 s, then 60 s: with a hundredth of all codes live (10,000 of six digits) guessing finds one in
                        20 minutes on average
    node_wrong_codes:   the same for a frame node with all its agents, default 200; then joins are busy until the window
                        is over, but for agents that signed in before it, and have used no wrong code in it
    offer_s:            how long an agent may think about a chat, and a visitor about a proposed one, default 20
    ask_s:              how long a visitor may think about an agent's request, default 60; then it is declined
    ask_rest_s:         how long an agent rests in a chat before it asks a visitor again who has declined, or has not
                        answered, default 30
    propose_s:          how long after its engagement with a page an agent may propose a chat, default 300
    refusal_s:          for how long a chat is not offered again to an agent that let it go, default 30
    chats_per_agent:    open chats at once, default 5
    reply_s:            how long an answered request can be replayed, default 300: longer than any client retries
    forget_s:           how long a page that is gone can come back to its epoch and version, default 3600
    """

    capacity: int = 10_000
    codes: CodeFormat = field(default_factory=CodeFormat)
    quarantine_s: float = 600.0
    busy_retry_after_s: float = 2.0
    wrong_codes: int = 5
    node_wrong_codes: int = 200
    window_s: float = 60.0
    lockout_s: float = 60.0
    offer_s: float = 20.0
    ask_s: float = 60.0
    ask_rest_s: float = 30.0
    propose_s: float = 300.0
    refusal_s: float = 30.0
    chats_per_agent: int = 5
    reply_s: float = 300.0
    forget_s: float = 3600.0

    def __post_init__(self) -> None:
        self.codes.check_capacity(self.capacity)
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in ("codes", "capacity") and not value > 0:
                raise ValueError(expected(each.name, value, "a number above 0"))

"""What a frame node publishes after a commit, and what it logs of it.

    ~pagesession/<home>/<session>/frame/state   the page's state map, proven by the page's key
    $site_connect/agent/<agent>/state            for each agent concerned, the page's state map without its code,
                                                proven by the key of the agent's lease
    $site_connect/buttons                        {button: available agents}, when it changed and every few seconds

Codes and session ids are logged as `log_code` only.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Mapping, Sequence

from fabric.errors import FabricError, TransportError
from fabric.node.node import Node
from nodes.frame_node.operations import for_agent, for_page
from nodes.frame_node.touched import Touched
from nodes.operate.logs import named
from nodes.rules import topics
from nodes.rules.contact_codes import log_code
from nodes.rules.state_map import proven
from nodes.store.records import Page

log = logging.getLogger("nodes.frame_node")

PUBLISH_S = 1.0
"""How long a batch waits for room for its events, before it leaves them to the heartbeats."""


class Events:
    """Publishes at `node`. For several threads, but for `tell_buttons`.

    untold:   events that could not be published; only grows. Heartbeats make them good
    _lock:    held while `untold` grows
    _salt:    random bytes, drawn once: within one run equal codes look equal in the log, and nobody can try them all
    _buttons: available agents of each button as they were published last. Changed by `tell_buttons`
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.untold = 0
        self._lock = threading.Lock()
        self._salt = secrets.token_bytes(16)
        self._buttons: dict[str, int] = {}

    def tell_pages(self, touched: Touched) -> None:
        """Publish each page as it is now, to itself and to the agents concerned."""
        events: list[tuple[str, Mapping[str, object]]] = []
        for session, page in touched.pages.items():
            self._log(page)
            events.append((topics.on_the_wire(page.home, session, topics.STATE), proven(for_page(page), page.key)))
            hearers = [agent for agent in touched.agents[session] if agent in touched.keys]
            events += [self._to_agent(page, agent, touched.keys[agent]) for agent in hearers]
        self._publish(events)

    def _to_agent(self, page: Page, agent: str, key: str) -> tuple[str, Mapping[str, object]]:
        return topics.agent_state(agent), proven(for_agent(page, agent, key), key)

    def tell_buttons(self, available: Mapping[str, int], always: bool) -> None:
        """Publish how many agents are available for each button, if that has changed, or `always`."""
        if always or available != self._buttons:
            self._buttons = dict(available)
            self._publish([(topics.BUTTONS, dict(available))])

    def _publish(self, events: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        patience_s, untold = PUBLISH_S, 0
        for topic, payload in events:
            try:
                publish = self._node.publish_system if topic.startswith("$") else self._node.publish
                publish(topic, payload, timeout_s=patience_s)
            except FabricError as error:
                untold, why = untold + 1, error
                patience_s = 0.0 if isinstance(error, TransportError) else patience_s
        if untold:
            with self._lock:
                self.untold += untold
            told = named("events_untold", untold=untold, of=len(events), why=str(why))
            log.warning("%d of %d events could not be published: %s", untold, len(events), why, extra=told)

    def _log(self, page: Page) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        code = log_code(page.code, self._salt) if page.code else "none"
        what = "gone" if page.gone_at is not None else f"co-browsing {page.cobrowse}, chat {page.chat}"
        session = log_code(page.session, self._salt)
        told = named("page_changed", session=session, version=page.version, epoch=page.epoch, what=what, code=code)
        words = "page %s version %d epoch %d: %s, code %s"
        log.info(words, session, page.version, page.epoch, what, code, extra=told)

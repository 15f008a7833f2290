"""What tests of frame nodes share: one who asks and listens, as pages and agents do, and `fabric frame` as a process.

with Asker(base) as asker:
    page = asker.grant()                       # a new page of this asker's home; its state map
    asker.ask("join", agent="ann", code=page["code"])
    asker.page_events(page["session"])         # the state maps that were published to the page, so far
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fabric import Message, Node
from fabric.services import Client
from nodes.rules.acquaintance import MEET, Acquaintance
from nodes.rules.topics import BUTTONS, FRAME_SERVICE, STATE, agent_state, on_the_wire
from tests.support.processes import FabricProcess
from tests.support.proven import page_name, proven_body
from tests.support.waiting import PATIENCE_S, Box, until

LEASE_S = 30.0


class Asker:
    """A node with a client, which hears all that frame nodes tell the pages of its home, and agents.

    attempts: into so many slices the time until a deadline is cut; more where frame nodes are killed
    """

    def __init__(self, base: str, attempts: int = 4) -> None:
        self.node = Node(base)
        self.home = self.node.home
        self.client = Client(self.node, attempts=attempts)
        self._acquaintance = Acquaintance(secrets.token_bytes(32))
        self.heard = Box()
        for topic_filter in (f"~pagesession/{self.home}/#", "$site_connect/#"):
            assert self.node.wait_ack(self.node.subscribe(topic_filter, self.heard), PATIENCE_S).ok

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.node.close()

    def ask(self, operation: str, deadline_s: float = PATIENCE_S, key: str | None = None, **body: Any) -> Any:
        asked = proven_body(operation, body, time.time(), key or "", self.met())
        return unproven(self.client.request(FRAME_SERVICE, operation, asked, deadline_s=deadline_s))

    def submit(self, operation: str, deadline_s: float = PATIENCE_S, **body: Any) -> Future[Any]:
        asked = proven_body(operation, body, time.time(), "", self.met())
        return self.client.submit(FRAME_SERVICE, operation, asked, deadline_s=deadline_s)

    def met(self) -> Acquaintance:
        """What it has agreed on with the frame nodes, at its first request."""
        if not self._acquaintance.is_made:
            answer = self.client.request(
                FRAME_SERVICE, MEET, {"host": self._acquaintance.public}, deadline_s=PATIENCE_S
            )
            assert self._acquaintance.met(answer, time.monotonic())
        return self._acquaintance

    def page(self, session: str = "", lease_s: float = LEASE_S) -> dict[str, Any]:
        """The body of a `grant_code`, for a new page or this one."""
        return {"session": session or page_name(), "home": self.home, "lease_s": lease_s}

    def grant(self, session: str = "", lease_s: float = LEASE_S) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("grant_code", **self.page(session, lease_s))
        return found

    def sign_in(self, agent: str = "ann", *buttons: str, lease_s: float = LEASE_S) -> None:
        self.ask("sign_in", agent=agent, name=agent.title(), buttons=list(buttons), lease_s=lease_s)
        if buttons:
            self.ask("availability", agent=agent, on=True)

    # --- what was published

    def on(self, topic: str) -> list[Any]:
        return [unproven(message.payload) for message in list(self.heard.items) if message.topic == topic]

    def page_events(self, session: str) -> list[Any]:
        return self.on(on_the_wire(self.home, session, STATE))

    def agent_events(self, agent: str) -> list[Any]:
        return self.on(agent_state(agent))

    def wait_page(self, session: str, **fields: Any) -> dict[str, Any]:
        """Return the first state map published to the page that has these fields."""
        return self._wait(on_the_wire(self.home, session, STATE), fields)

    def wait_agent(self, agent: str, **fields: Any) -> dict[str, Any]:
        return self._wait(agent_state(agent), fields)

    def wait_buttons(self, buttons: dict[str, int], timeout_s: float = PATIENCE_S) -> None:
        """Wait until the newest word on the buttons is this."""
        what = f"the buttons are {buttons}"
        self.heard.wait_for(lambda _: self.on(BUTTONS)[-1:] == [buttons], what, timeout_s)

    def _wait(self, topic: str, fields: dict[str, Any]) -> dict[str, Any]:
        def fits(message: Message) -> bool:
            return message.topic == topic and fields.items() <= message.payload.items()

        items = self.heard.wait_for(lambda items: any(map(fits, items)), f"{topic} with {fields}")
        found: dict[str, Any] = unproven(next(filter(fits, items)).payload)
        return found


def unproven(told: Any) -> Any:
    """What was told, without its proofs: as the tables of a test have it."""
    if isinstance(told, dict):
        return {name: unproven(value) for name, value in told.items() if name != "proof"}
    return [unproven(each) for each in told] if isinstance(told, list) else told


def start_frame(base: str, url: str, log_dir: Path, *args: str, name: str = "f1") -> FabricProcess:
    """Start `fabric frame`; the caller waits until it is ready, and stops it."""
    return FabricProcess(["frame", "--store", url, "--connect", base, "--name", name, *args], log_dir, name=name)


def until_known(asker: Asker, *frames: FabricProcess) -> None:
    """Wait until the asker knows these frame nodes, which are ready."""
    wanted = {frame.wait_event("ready")["instance"] for frame in frames}
    until(lambda: wanted <= {each.id for each in asker.client.instances(FRAME_SERVICE)}, f"{wanted} are known")

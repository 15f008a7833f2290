"""The agents that are signed in at a gateway, and what gateways tell each other of them.

One window an agent, at whichever gateway. They tell each other of `window`, one of an agent was opened, and of
`signed_out`, an agent has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from fabric.payloads import dumps, to_json
from fabric.wire import Message
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.console import Console
from nodes.gateway.credentials import Credential
from nodes.gateway.gateways import Gateways
from nodes.gateway.hub import Hub
from nodes.gateway.page_origins import OriginFun
from nodes.gateway.window import Line
from nodes.rules.topics import BUTTONS

READY_S = 2.0
"""How long a window waits for the frame node before it is welcomed all the same, not signed in yet."""


class Consoles:
    """The agents that are signed in here. Used in the event loop.

    gateways:  the others
    origin:    see `Sessions.origin`
    """

    def __init__(self, hub: Hub, gateways: Gateways, origin: OriginFun) -> None:
        self._hub, self._gateways, self._origin = hub, gateways, origin
        self._here: dict[str, Console] = {}
        """By the agent's id: from its first window here until it is let go."""
        self._ending: dict[str, asyncio.Task[None]] = {}
        """By the agent's id: the task that closes a console that is not in `_here` any more."""
        self._available: dict[str, Any] | None = None
        """Agents for each button, as a frame node said last; None: it has not."""
        hub.node.subscribe(BUTTONS, self._on_buttons)
        gateways.on("window", self._opened_elsewhere)
        gateways.on("signed_out", self._signed_out_elsewhere)
        hub.on_connection.append(self._tell)

    def __len__(self) -> int:
        return len(self._here)

    async def open(self, credential: Credential, line: Line, seen: int | None) -> Console:
        """Give a window its agent, which is made if it is not here. The window is welcomed; or ended, if its agent was
        let go while it waited.

        seen:  the last number that this window had, on its socket before
        """
        ending = self._ending.get(credential.agent)
        if ending is not None:
            await asyncio.shield(ending)
        console = self._here.get(credential.agent)
        if console is None:
            console = self._here[credential.agent] = Console(self._hub, credential, self._origin)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(console.signed_in.wait(), READY_S)
        if self._here.get(credential.agent) is not console:  # ended meanwhile: nobody would look after it
            line.end(CloseCode.ENDED_ELSEWHERE, "this agent has signed out, or another window of it was opened")
            return console
        console.join(line, seen, self._available)
        self._gateways.tell("window", credential.agent)
        return console

    def sign_out(self, agent: str) -> None:
        """Sign an agent out, at all gateways. Does not wait."""
        self._gateways.tell("signed_out", agent)
        self._end(agent, "signed out")

    def tick(self, now: float) -> None:
        """About every second."""
        for agent, console in list(self._here.items()):
            if console.window.left_at is not None and now - console.window.left_at > self._hub.settings.agent_s:
                self._end(agent, "its window was closed")
            else:
                console.tick(now)

    def drain(self, last: str) -> None:
        """Send all windows away, with a last message."""
        for console in list(self._here.values()):
            console.window.end(CloseCode.RESTARTING, last=last)

    def close(self) -> None:
        """Let all agents go; they stay signed in until their leases are over. Not in the event loop."""
        for console in self._here.values():
            console.agent.close(sign_out=False)
        self._here.clear()

    def _end(self, agent: str, why: str, sign_out: bool = True) -> None:
        """Let an agent go, here; `sign_out`: everywhere."""
        console = self._here.pop(agent, None)
        if console is None:
            return
        if console.window.line is not None:
            console.window.end(CloseCode.ENDED_ELSEWHERE, why)
            console.leave(console.window.line)
        task = self._ending[agent] = asyncio.create_task(asyncio.to_thread(console.agent.close, sign_out))
        task.add_done_callback(lambda _: self._ending.pop(agent, None))

    def _opened_elsewhere(self, agent: str) -> None:
        self._end(agent, "another window of this agent was opened", sign_out=False)

    def _signed_out_elsewhere(self, agent: str) -> None:
        self._end(agent, "signed out")

    def _on_buttons(self, message: Message) -> None:
        if isinstance(message.payload, dict):
            self._hub.call(self._tell_buttons, to_json(message.payload))

    def _tell_buttons(self, available: dict[str, Any]) -> None:
        if available != self._available:
            self._available = available
            self._tell(dumps({"t": "buttons", "available": available}))

    def _tell(self, text: str) -> None:
        for console in self._here.values():
            console.window.pass_on(text)

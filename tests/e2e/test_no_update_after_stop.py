"""No agent handles an update after the stop was acknowledged, nor ever one of an older epoch.

Rounds at a high rate of updates with a stop at a random moment: from the page, the agent, or both; in some the frame
node or the agent is killed, or the agent stands still beyond its lease and then goes on with a full inbox. The page
runs here, agent and frame node are processes; times are this machine's monotonic clock.

FABRIC_STOP_ROUNDS=1000 for the long run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from fabric import Node
from fabric.wire import Message
from nodes.rules.backoff import Backoff
from nodes.rules.proofs import handle_of
from tests.nodes.page.test_hosted_page import Watched
from tests.support.site import Driven, Site, site
from tests.support.waiting import until

ROUNDS = int(os.environ.get("FABRIC_STOP_ROUNDS", "100"))
SEED = int(os.environ.get("FABRIC_STOP_SEED", "1"))
PAUSE_S = 0.0005
LEASE_S = 4.0
SELDOM = ("frame_killed", "agent_killed", "agent_paused")


def kind_of(number: int, rng: random.Random) -> str:
    """Every tenth round something is killed or stands still."""
    return SELDOM[number // 10 % 3] if number % 10 == 9 else rng.choice(["page", "agent", "both"])


class Books:
    """When each epoch's end was acknowledged, and every update that an agent has handled."""

    def __init__(self) -> None:
        self.over: dict[int, float] = {}
        self.handled = 0
        self.wrong: list[str] = []
        self._read: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def check(self, agent: Driven) -> None:
        """Look at what this agent has told since the last time."""
        lines = agent.stdout[self._read.get(agent.pid, 0) :]
        self._read[agent.pid] = self._read.get(agent.pid, 0) + len(lines)
        for line in lines:
            found = json.loads(line)
            if found["event"] != "update":
                continue
            self.handled += 1
            epoch = found["epoch"]
            if found["at"] > self.over.get(epoch, float("inf")):
                self.wrong.append(
                    f"{line} was handled {found['at'] - self.over[epoch]:.6f} s after the acknowledgement"
                )
            if epoch < self._last.get(agent.pid, 0):
                self.wrong.append(f"{line}: epoch {self._last[agent.pid]} had begun")
            self._last[agent.pid] = max(epoch, self._last.get(agent.pid, 0))


class Rounds:
    """One page that sends without pause, and the agent that joins it again and again."""

    def __init__(self, world: Site, page: Watched, rng: random.Random) -> None:
        self._world, self._page, self._rng = world, page, rng
        self.agent = self._start_agent()
        self.books = Books()
        self._idle_at: list[float] = []
        # Nothing comes between the frame node's word that the stop is over, and this.
        page.subscribe("~/site_connect/new_code", self._note)

    def _note(self, message: Message) -> None:
        if not message.headers.get("retained"):
            self._idle_at.append(time.monotonic())

    def _start_agent(self) -> Driven:
        agent = self._world.agent("ada", "--lease", str(LEASE_S))
        agent.event("signed_in")
        return agent

    def play(self, kind: str) -> None:
        """One round."""
        page, agent = self._page, self.agent
        idle = len(self._idle_at)
        code = until(lambda: page._core.frame.state["code"], "the page has a code", 60)
        epoch = self._join(code)
        agent.event("update", 30, epoch=epoch)
        time.sleep(self._rng.uniform(0.0, 0.1))  # a random moment
        self._disturb(kind)
        if kind in ("agent", "both"):
            agent.do("stop", session=handle_of(page.key, page.session, "ada"))
        if kind != "agent":
            stop = page.stop_session()
            if kind == "frame_killed":
                self._world.restart_frame()
            assert stop.wait(60), (kind, page._core.frame.state)
        until(lambda: len(self._idle_at) > idle, "the page is told that it is over", 60)
        self.books.over[epoch] = self._idle_at[idle]
        self._recover(kind)
        self.books.check(agent)

    def _join(self, code: str) -> int:
        """Return the epoch. After a frame node was away for longer than its lease, the agent signs in anew first."""
        for _ in range(5):
            before = len(self._answers())
            self.agent.do("join", code=code)
            until(lambda: len(self._answers()) > before, "an answer to the join", 60)  # noqa: B023
            told = self._answers()
            if told[-1]["event"] == "joined":
                return int(told[-1]["epoch"])
            assert told[-1]["error"] == "LeaseExpired", told[-1]
            until(lambda: self._count("signed_in") > self._count("lease_lost"), "it is signed in", 30)
        raise AssertionError("it could not join")

    def _answers(self) -> list[dict[str, Any]]:
        """What came of each join. A stop is refused where the page's own came first, and may be so late."""
        told = self.agent.events("joined", "refused")
        return [each for each in told if each["event"] == "joined" or each["what"] == "join"]

    def _count(self, event: str) -> int:
        return len(self.agent.events(event))

    def _disturb(self, kind: str) -> None:
        if kind == "frame_killed":
            self._world.frames[-1].kill()
        elif kind == "agent_killed":
            self.agent.kill()
        elif kind == "agent_paused":
            self.agent.signal(signal.SIGSTOP)
            sent = self._page._core._update_no
            until(lambda: self._page._core._update_no > sent + 20, "updates wait in its inbox")

    def _recover(self, kind: str) -> None:
        if kind == "agent_killed":
            self.agent = self._start_agent()
        elif kind == "agent_paused":
            self.agent.signal(signal.SIGCONT)
            self.agent.event("stopped", 30)
            self.agent.event("lease_lost", 30)
            self.agent.event("signed_in", 30)


def test_no_update_is_handled_after_the_acknowledgement(tmp_path: Path) -> None:
    rng, ended = random.Random(SEED), threading.Event()
    with site(tmp_path) as world, Node(world.base) as node:
        page = Watched(node, lease_s=120.0, backoff=Backoff(base_s=0.2, cap_s=0.5, attempts=1000))
        page.subscribe("~pagesession/cobrowsing/snapshot_request", lambda _: page.try_update("whole", snapshot=True))

        def send() -> None:
            number = 0
            while not ended.wait(PAUSE_S):
                number += 1
                page.try_update(number)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            rounds = Rounds(world, page, rng)
            for number in range(ROUNDS):
                kind = kind_of(number, rng)
                rounds.play(kind)
                assert not rounds.books.wrong, f"round {number}, {kind}: {rounds.books.wrong[:3]}"
            rounds.agent.do("quit")
            assert rounds.agent.wait(30) == 0
            rounds.books.check(rounds.agent)
            assert not rounds.books.wrong, rounds.books.wrong[:3]
            assert rounds.books.handled > 10 * ROUNDS, "stops came in the midst of updates"
        finally:
            ended.set()
            sender.join()
            page.close()

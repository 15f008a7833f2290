"""The second demo: a visitor's page and an agent, from the contact code to the stop and the next code.

    page ─► p1 ═══ p2 ◄─ agent          and a frame node at p1; each is a process
             │      │
             └ capture of everything ┘  to show that nothing under ~/ ever leaves the page

The `fabric` command does everything, driven by lines of JSON; this module starts it, tells the story as it happens, and
stops it. The exit code is 0 only if every step happened as it should.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from fabric import Node, sockets
from fabric.endpoints import Endpoints
from nodes.demo import flights
from nodes.demo.stage import START_TIMEOUT_S, Child, Failed, Stage

EVENT_TIMEOUT_S = 20.0
END = "demo/end"


class Driven:
    """A page or an agent; `event` reads its story in order, by name."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._read: dict[str, int] = {}
        """By name of an event, how many of the child's lines have been searched for it."""

    def do(self, what: str, **fields: Any) -> None:
        self._child.send(json.dumps({"do": what, **fields}))

    def event(self, name: str) -> dict[str, Any]:
        """Return the next event of this name; raises Failed when it does not come."""
        found: dict[str, Any] = {}

        def come() -> bool:
            nonlocal found
            for number in range(self._read.get(name, 0), len(self._child.lines)):
                self._read[name] = number + 1
                found = json.loads(self._child.lines[number][1])
                if found["event"] == name:
                    return True
            return False

        self._child.wait_until(come, f"event {name!r}", EVENT_TIMEOUT_S)
        return found


class Capture:
    """Hears everything that leaves a proxy, at each of these bases."""

    def __init__(self, bases: list[str]) -> None:
        self._context = sockets.new_context()
        self._sockets = []
        for base in bases:
            socket = sockets.xsub(self._context, recv_hwm=0)
            socket.send(b"\x01")
            sockets.connect(socket, Endpoints.parse(base).guest)
            self._sockets.append(socket)

    def topics(self, probe: Callable[[], object]) -> list[list[str]]:
        """Publish the topic END by `probe` until every proxy has sent it; return the topics of each up to there."""
        found = []
        for socket in self._sockets:
            topics: list[str] = []
            deadline = time.monotonic() + EVENT_TIMEOUT_S
            while END not in topics:
                if time.monotonic() > deadline:
                    raise Failed("the capture does not hear its proxy")
                probe()
                while socket.poll(50):
                    topics.append(socket.recv().partition(b"\0")[0].decode(errors="replace"))
            found.append(topics)
        return found

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._context.term()


def run(stage: Stage, folder: Path) -> None:
    """Play the story, and print what happens; raises Failed at the first thing that does not."""
    p1, p2 = f"ipc://{folder}/p1", f"ipc://{folder}/p2"
    stage.start("p1", "proxy", "--listen", p1, "--name", "p1")
    stage.start("p2", "proxy", "--listen", p2, "--name", "p2", "--join", p1)
    stage.start("wait", "wait", "--connect", p2, "--proxies", "2", "--timeout", f"{START_TIMEOUT_S:g}").wait_end(
        START_TIMEOUT_S + 5
    )
    with Node(p1, connect_timeout_s=START_TIMEOUT_S) as node, contextlib.closing(Capture([p1, p2])) as capture:
        capture.topics(lambda: node.publish(END, None))
        frame = Driven(stage.start("frame node", "frame", "--store", f"sqlite:///{folder}/frame.db", "--connect", p1))
        frame.event("ready")
        tell("all", "two meshed proxies, a frame node, a page at p1, an agent at p2; each is a process")
        page = Driven(stage.start("page", "page", "--buttons", "help", "--connect", p1))
        agent = Driven(stage.start("agent", "agent", "ada", "--name", "Ada", "--buttons", "help", "--connect", p2))
        tell_the_story(page, agent)
        for topics in capture.topics(lambda: node.publish(END, None)):
            of_page = [topic for topic in topics if topic.startswith("~pagesession/")]
            local = [topic for topic in topics if topic == "~" or topic.startswith("~/")]
            if local or not of_page:
                raise Failed(f"the capture holds {len(of_page)} of the page's session, and of ~/ {local[:3]}")
            tell("wire", f"{len(of_page)} messages of the page's session, none of its ~/ topics")


def tell_the_story(page: Driven, agent: Driven) -> None:
    """Play it: code, join, updates, stop, new code; and the button that follows the agent."""
    code = page.event("ready")["payload"]["code"]
    tell("page", f"ready, with the contact code {code}")
    page.event("chat_button/help/disabled")
    agent.event("signed_in")
    agent.do("available", on=True)
    page.event("chat_button/help/enabled")
    tell("page", "Ada is available: the button 'help' is enabled")

    agent.do("join", code=code)
    session = agent.event("joined")["session"]
    page.event("cobrowsing/start")
    page.event("show_frame")
    tell("page", "Ada has joined by the code: co-browsing starts, the frame is shown")
    page.event("cobrowsing/snapshot_request")
    page.do("update", event={"html": "<h1>Shoes</h1>"}, snapshot=True)
    for x in (1, 2, 3):
        page.do("update", event={"scroll": x})
    updates = [agent.event("update") for _ in range(4)]
    if [update["n"] for update in updates] != [1, 2, 3, 4]:
        raise Failed(f"the agent got updates {updates}")
    tell("agent", "a snapshot of the page and three updates, in order")

    page.do("stop_session")
    stopped = page.event("stopped_here")["at"]
    page.event("cobrowsing/stop")
    after_ms = (agent.event("stopped")["at"] - stopped) * 1000
    page.do("update", event={"scroll": 4})
    page.event("update_not_sent")
    acknowledged_ms = (page.event("stop_acknowledged")["at"] - stopped) * 1000
    tell("page", "stop_session: no update leaves any more, at once")
    tell("agent", f"stopped after {after_ms:.1f} ms; acknowledged at the page after {acknowledged_ms:.1f} ms")
    new_code = page.event("new_code")["payload"]["code"]
    tell("page", f"the next contact code is {new_code}")
    agent.do("join", code=code)
    tell("agent", f"tries {code} once more: {agent.event('refused')['why']}")

    page.do("publish", topic="~/basket", payload={"items": 2, "session": session})
    page.event("~/basket")
    tell("page", "what it publishes under ~/ stays in the page")
    agent.do("quit")
    page.event("chat_button/help/disabled")
    tell("page", "Ada has left: the button is disabled")


def tell(who: str, words: str) -> None:
    print(f"  {who:6} {words}", flush=True)


def main() -> int:
    """Run the demo; 0 when all came as it should, 1 when not, 130 when interrupted."""
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda number, frame: sys.exit(128 + number))
    print("Site-connect: a visitor's page, a frame node, an agent\n", flush=True)
    stage, good = Stage(), True
    with tempfile.TemporaryDirectory(prefix="fabric-demo-") as folder:
        try:
            run(stage, Path(folder))
        except (Failed, zmq.ZMQError) as error:
            print(f"demo: {error}", file=sys.stderr)
            good = False
        except KeyboardInterrupt:
            return 130
        finally:
            stage.clear()
    print("\nAll of it happened as told." if good else "\nThe demo failed.", flush=True)
    return 0 if good else 1


def both() -> int:
    """Run the flights' demo, then this one, in the process that a signal to `scripts/demo` reaches."""
    code = flights.main()
    if code:
        return code
    print()
    return main()


if __name__ == "__main__":
    sys.exit(both() if sys.argv[1:] == ["--both"] else main())

"""Site-connect as processes: a proxy, a frame node on SQLite, pages and agents driven by lines of JSON.

    with site(folder) as world:
        page = world.page("--buttons", "help")
        code = page.event("ready")["payload"]["code"]
        agent = world.agent("ada", "--join", code)
        agent.event("joined")
        page.do("stop_session")

`event` reads on from where the last event of that name was found, so a test tells a story in order.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import READY_TIMEOUT_S, FabricProcess, ProxyProcess
from tests.support.waiting import start_mesh, stop_all


class Driven(FabricProcess):
    """`fabric page` or `fabric agent`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._next: dict[str, int] = {}
        super().__init__(*args, **options)

    def do(self, what: str, **fields: Any) -> None:
        """Send a command."""
        self.send(json.dumps({"do": what, **fields}))

    def event(self, name: str, timeout_s: float = READY_TIMEOUT_S, **wanted: Any) -> dict[str, Any]:
        """Return the next event of this name, whose fields are these."""

        def fits(line: str) -> bool:
            found = json.loads(line)
            return found["event"] == name and all(found.get(key) == value for key, value in wanted.items())

        start = self._next.get(name, 0)
        line = self._wait_line(self.stdout, fits, timeout_s, start, f"event {name!r} {wanted or ''}")
        self._next[name] = self.stdout.index(line, start) + 1
        found: dict[str, Any] = json.loads(line)
        return found

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return every event so far, or those of these names."""
        likely = [line for line in list(self.stdout) if not names or any(f'"{name}"' in line for name in names)]
        return [found for found in map(json.loads, likely) if not names or found["event"] in names]

    def names(self) -> list[str]:
        return [each["event"] for each in self.events()]


class Site:
    """The processes of one site; all are stopped at its end. `sockets`: a folder with a short name, for ipc."""

    def __init__(self, folder: Path, sockets: str) -> None:
        self.folder, self._sockets = folder, sockets
        self.started: list[FabricProcess] = []
        self.proxies: list[ProxyProcess] = []
        self.frames: list[FabricProcess] = []

    @property
    def base(self) -> str:
        return self.proxies[0].base

    def start_proxies(self, count: int) -> None:
        bases = [f"ipc://{self._sockets}/p{number}" for number in range(1, count + 1)]
        self.proxies = start_mesh(self.folder, count, bases=bases, keep=self.started.append)

    def start_frame(self, *options: str) -> FabricProcess:
        """Start a frame node on this site's store, and return when it is ready."""
        arguments = ["frame", "--store", f"sqlite:///{self.folder}/store.db", "--connect", self.base]
        return self._frame(FabricProcess([*arguments, *options], self.folder))

    def _frame(self, frame: FabricProcess) -> FabricProcess:
        self.frames.append(frame)
        self.started.append(frame)
        frame.wait_event("ready")
        return frame

    def restart_frame(self) -> FabricProcess:
        """Start the frame node again that was killed."""
        return self._frame(self.frames[-1].again())

    def again(self, ended: Driven) -> Driven:
        """Start a page or an agent again that was killed."""
        return self._drive(ended.args)

    def page(self, *args: str, at: int = 0) -> Driven:
        return self._drive(["page", "--connect", self.proxies[at].base, *args])

    def agent(self, name: str, *args: str, at: int = -1) -> Driven:
        secret = self.folder / f"{name}.secret"
        secret.write_text(f"the secret of agent {name}")
        secret.chmod(0o600)
        return self._drive(["agent", name, "--secret-file", str(secret), "--connect", self.proxies[at].base, *args])

    @contextlib.contextmanager
    def scene(self) -> Iterator[Site]:
        """What is started within is stopped at its end: for a site that several tests share."""
        before = len(self.started)
        try:
            yield self
        finally:
            stop_all(self.started[before:])
            del self.started[before:]

    def _drive(self, args: list[str]) -> Driven:
        found = Driven(args, self.folder)
        self.started.append(found)
        return found


@contextlib.contextmanager
def site(folder: Path, *frame: str, proxies: int = 1) -> Iterator[Site]:
    """A site that is stopped at the end. `frame`: more options of the frame node, or `none` to start none."""
    with tempfile.TemporaryDirectory(prefix="site") as sockets:
        found = Site(folder, sockets)
        try:
            found.start_proxies(proxies)
            if frame != ("none",):
                found.start_frame(*frame)
            yield found
        finally:
            stop_all(found.started)

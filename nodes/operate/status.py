"""What one process tells its operator: parts that are watched, and when it is ready."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nodes.operate.exposition import CONTENT_TYPE, Exposition
from nodes.operate.extras import not_installed
from nodes.operate.health import node_death, node_problem
from nodes.operate.http_answer import Page, text
from nodes.operate.metrics import Figures, node_figures

if TYPE_CHECKING:
    from fabric.node.node import Node

PATIENCE_S = 2.0
"""How long one reader waits for another: figures may come from a database that hangs."""


class Status:
    """What one process tells of itself. `watch` its parts as they come, and say when it can be `ready`.

    The command changes it in the main thread; the threads of the status page read it.
    """

    def __init__(self, program: str) -> None:
        self.program = program
        """What the process is: `proxy`, `frame`, …"""
        self.name = ""
        """Its name in the mesh; empty until the command, or the first node watched, gives one."""
        self.url = ""
        """Of its page, once it is served; empty without one. Set once, before anything is watched."""
        self._parts: dict[str, Callable[[], Figures]] = {}
        """By name of a part, what reads its figures. Grows by `watch`."""
        self._deaths: list[Callable[[], str]] = []
        """One for each `watch`: why the process cannot recover, empty while it can."""
        self._problems: list[Callable[[], str]] = [lambda: "starting"]
        """Why the process is not ready, each empty while it is. `ready` replaces them all."""
        self._making = threading.Lock()
        """Held while a text of metrics is made, and guards `_exposition`."""
        self._exposition: Exposition | None = None
        """Made for the first text."""

    def watch(self, part: str, figures: Callable[[], Figures], death: Callable[[], str] = lambda: "") -> None:
        """Export the figures of a part (see `nodes.operate.metrics`); `death` says why the process cannot recover."""
        self._parts[part] = figures
        self._deaths.append(death)

    def watch_node(self, node: Node) -> None:
        """Export a node, and take its name; not ready while it has no proxy."""
        self.name = self.name or node.name
        node.status_page = self.told
        self.watch("node", lambda: node_figures(node.stats()), lambda: node_death(node.stats()))

    @property
    def told(self) -> dict[str, str] | None:
        """Where the page is, for operators who ask; see `Node.status_page`. None without one."""
        if not self.url:
            return None
        return {"url": self.url, "program": self.program, "process": self.name, "host": socket.gethostname()}

    def ready(self, *problems: Callable[[], str]) -> None:
        """From now on the process is ready whenever each of these returns nothing."""
        self._problems = list(problems)

    def ready_with(self, node: Node, *problems: Callable[[], str]) -> None:
        """Like `ready`, for a process that also needs its node connected."""
        self.ready(lambda: node_problem(node.stats()), *problems)

    @property
    def pages(self) -> Mapping[str, Callable[[], Page]]:
        return {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}

    def figures(self) -> dict[str, Figures]:
        """Return the figures of all parts, as of now."""
        return {part: figures() for part, figures in self._parts.items()}

    def metrics_text(self) -> bytes:
        """Return the metrics as Prometheus reads them.

        errors: ModuleNotFoundError without prometheus-client; TimeoutError when another reader takes too long
        """
        if not self._making.acquire(timeout=PATIENCE_S):
            raise TimeoutError(f"another reader of the metrics has not finished within {PATIENCE_S:g} s")
        try:
            self._exposition = self._exposition or Exposition(self.program, self.figures)
            return self._exposition.text(self.name)
        finally:
            self._making.release()

    def _health(self) -> Page:
        return _first(self._deaths, "alive")

    def _readiness(self) -> Page:
        return _first(self._problems, "ready")

    def _metrics(self) -> Page:
        try:
            return Page(200, self.metrics_text(), CONTENT_TYPE)
        except ModuleNotFoundError as error:
            return text(501, not_installed(error.name, "ops"))
        except TimeoutError as error:
            return text(503, str(error))


def _first(reasons: list[Callable[[], str]], else_words: str) -> Page:
    for reason in reasons:
        if why := reason():
            return text(503, why)
    return text(200, else_words)

"""What every long-running command offers its operator: `--http` (health, readiness, metrics) and `--log-json`.

    @operating_options
    def frame(..., http: Address | None, log_json: bool) -> Exit:
        logs.begin("fabric frame", as_json=log_json)
        with status_page("frame", http) as status:      # listens: alive, not ready
            ...
            status.watch("node", lambda: node_figures(node.stats()))
            status.ready(lambda: node_problem(node.stats()))

Nothing is read before somebody asks, and what is asked is read at that moment.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.node.node import Node
from nodes.cli.options import Command, say
from nodes.operate.exposition import CONTENT_TYPE, Exposition
from nodes.operate.health import node_death, node_problem
from nodes.operate.http_answer import Page, text
from nodes.operate.http_server import Address, StatusServer
from nodes.operate.metrics import Figures, node_figures

OFF = Address("", 0)
"""What `--http off` says."""
PATIENCE_S = 2.0
"""One reader waits so long for another: figures may come from a database that hangs."""


class _Url(click.ParamType):  # type: ignore[type-arg]
    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return OFF if value == "off" else Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def operating_options(command: Command) -> Command:
    """Add --http and --log-json: the arguments `http` and `log_json`."""
    json_lines = click.option("--log-json", is_flag=True, help="On stderr, one JSON object a line instead of words.")
    return click.option(
        "--http",
        metavar="URL|off",
        type=_Url(),
        help="Serve /healthz, /readyz and /metrics at http://HOST:PORT. [default: a proxy's PORT+5, else off]",
    )(json_lines(command))


def http_of_proxy(listen: str) -> Address | None:
    """Where a proxy's status page is when nobody says otherwise: at base port + 5; nowhere for ipc."""
    endpoint = Endpoints.parse(listen).http
    return Address.parse(endpoint.removeprefix("tcp://")) if endpoint.startswith("tcp://") else None


class Status:
    """What one process tells of itself. `watch` its parts as they come, and say when it can be `ready`."""

    def __init__(self, program: str) -> None:
        self.program, self.name = program, ""
        self._parts: dict[str, Callable[[], Figures]] = {}
        self._deaths: list[Callable[[], str]] = []
        self._problems: list[Callable[[], str]] = [lambda: "starting"]
        self._making = threading.Lock()
        self._exposition: Exposition | None = None

    def watch(self, part: str, figures: Callable[[], Figures], death: Callable[[], str] = lambda: "") -> None:
        """Export the figures of a part (see `nodes.operate.metrics`); `death` says why the process cannot recover."""
        self._parts[part] = figures
        self._deaths.append(death)

    def watch_node(self, node: Node) -> None:
        """Export a node, and take its name; not ready while it has no proxy."""
        self.name = self.name or node.name
        self.watch("node", lambda: node_figures(node.stats()), lambda: node_death(node.stats()))

    def ready(self, *problems: Callable[[], str]) -> None:
        """From now on it is ready whenever none of these says why not."""
        self._problems = list(problems)

    def ready_with(self, node: Node, *problems: Callable[[], str]) -> None:
        """The same, for what needs a node."""
        self.ready(lambda: node_problem(node.stats()), *problems)

    @property
    def pages(self) -> Mapping[str, Callable[[], Page]]:
        return {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}

    def figures(self) -> dict[str, Figures]:
        """Return the figures of all parts, as of now."""
        return {part: figures() for part, figures in self._parts.items()}

    def metrics_text(self) -> bytes:
        """Return the metrics as Prometheus reads them.

        errors: ModuleNotFoundError without prometheus-client; TimeoutError while another one is being made for long
        """
        if not self._making.acquire(timeout=PATIENCE_S):
            raise TimeoutError("the metrics are being read already, and that takes its time")
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
            return text(501, lacking(error))
        except TimeoutError as error:
            return text(503, str(error))


def _first(reasons: list[Callable[[], str]], else_words: str) -> Page:
    for reason in reasons:
        if why := reason():
            return text(503, why)
    return text(200, else_words)


def lacking(error: ModuleNotFoundError) -> str:
    return f"{error.name} is not installed; right would be: pip install '.[ops]'"


@contextlib.contextmanager
def status_page(program: str, http: Address | None, default: Address | None = None) -> Iterator[Status]:
    """Serve a Status while the block runs. It listens before anything else of the command begins.

    http:    what --http said; None: at `default`, and where that is taken a warning, and nothing is served
    errors:  TransportError when it cannot listen where --http said
    """
    status = Status(program)
    with contextlib.ExitStack() as stack:
        address = http or default
        if address is not None and address != OFF:
            try:
                server = stack.enter_context(StatusServer(address, status.pages))
            except TransportError as error:
                if http is not None:
                    raise
                say(f"no status page: {error}; --http gives it another place")
            else:
                _tell(server.address, http is not None)
        yield status


def _tell(address: Address, asked_for: bool) -> None:
    if not asked_for:
        return
    say(f"status page at {address}")
    if not address.is_local:
        say(f"{address} can be reached from other machines, and tells whoever asks how this process is")
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError as error:
        say(f"no /metrics: {lacking(error)}")

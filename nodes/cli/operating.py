"""What every long-running command offers its operator: `--http` (health, readiness, metrics) and `--log-json`.

    @operating_options
    def frame(..., http: Address | None, log_json: bool) -> Exit:
        logs.begin("fabric frame", as_json=log_json)
        with status_page("frame", http) as status:      # listens: alive, not ready
            ...
            status.watch("node", lambda: node_figures(node.stats()))
            status.ready(lambda: node_problem(node.stats()))

Figures are read when somebody asks for them, not before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from nodes.cli.exits import say
from nodes.cli.options import Command
from nodes.operate.extras import not_installed
from nodes.operate.http_server import Address, StatusServer
from nodes.operate.status import Status

OFF = Address("", 0)
"""Stands for `--http off`."""


class _Url(click.ParamType):  # type: ignore[type-arg]
    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return OFF if value == "off" else Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def operating_options(command: Command, default: str = "off") -> Command:
    """Add --http and --log-json: the arguments `http` and `log_json`. default: of --http, in words."""
    json_lines = click.option(
        "--log-json", is_flag=True, help="Write one JSON object a line to stderr instead of words."
    )
    return click.option(
        "--http",
        metavar="URL|off",
        type=_Url(),
        help=f"Serve /healthz, /readyz and /metrics at http://HOST:PORT. [default: {default}]",
    )(json_lines(command))


def http_of_proxy(listen: str) -> Address | None:
    """Return where a proxy's status page is by default: at base port + 5; nowhere for ipc."""
    endpoint = Endpoints.parse(listen).http
    return Address.parse(endpoint.removeprefix("tcp://")) if endpoint.startswith("tcp://") else None


@contextlib.contextmanager
def status_page(program: str, http: Address | None, default: Address | None = None) -> Iterator[Status]:
    """Serve a Status while the block runs. It listens before anything else of the command begins.

    http:    what --http said. None: the page is at `default`; where that is taken, a warning says that there is no page
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
                say(f"no status page: {error}; choose another address with --http")
            else:
                _tell(server.address, http is not None)
        yield status


def _tell(address: Address, asked_for: bool) -> None:
    if not asked_for:
        return
    say(f"status page at {address}")
    if not address.is_local:
        say(f"{address} can be reached from other machines, and answers anyone who asks")
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError as error:
        say(f"/metrics is not served: {not_installed(error.name, 'ops')}")

"""What every long-running command offers its operator: `--http` (health, readiness, metrics) and `--log-json`.

    @operating_options
    def frame(..., http: Http, log_json: bool) -> Exit:
        logs.begin("fabric frame", as_json=log_json)
        with status_page("frame", http) as status:      # listens: alive, not ready
            ...
            status.watch("node", lambda: node_figures(node.stats()))
            status.ready(lambda: node_problem(node.stats()))

Figures are read when somebody asks for them, not before. A page that other machines can reach answers only those who
show a token or a certificate.
"""

from __future__ import annotations

import contextlib
import functools
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from fabric import private_files
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import Command, read_secret
from nodes.operate.extras import not_installed
from nodes.operate.http_server import Address, Guard, StatusServer
from nodes.operate.status import Status

OFF = Address("", 0)
"""Stands for `--http off`."""
_TOKEN = re.compile(r"[!-~]{16,1000}")


@dataclass(frozen=True)
class Http:
    """Where a command serves its status page, and to whom.

    address: what --http said: OFF, or None when it was not given
    """

    address: Address | None
    guard: Guard


class _Url(click.ParamType):  # type: ignore[type-arg]
    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        try:
            return OFF if value == "off" else Address.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def operating_options(command: Command, default: str = "off") -> Command:
    """Add --log-json, and --http with all that guards it: the arguments `log_json` and `http`, an Http.

    default: of --http, in words
    """

    @functools.wraps(command)
    def with_http(
        *args: Any,
        http: Address | None,
        http_token_file: str | None,
        http_cert: str | None,
        http_key: str | None,
        http_client_ca: str | None,
        **options: Any,
    ) -> Any:
        guard = Guard(_token(http_token_file), _tls(http_cert, http_key, http_client_ca))
        _refuse_open(http, guard)
        return command(*args, http=Http(http, guard), **options)

    # Each stands in front of what is here already: `help` shows the last one first.
    for option in (
        click.option("--log-json", is_flag=True, help="Write one JSON object a line to stderr instead of words."),
        click.option("--http-client-ca", metavar="FILE", type=click.Path(),
                     help="Whose certificates clients of an https status page have to show, PEM."),
        click.option("--http-key", metavar="FILE", type=click.Path(), help="Its key, PEM, mode 600."),
        click.option("--http-cert", metavar="FILE", type=click.Path(),
                     help="Certificate chain of an https status page, PEM."),
        click.option("--http-token-file", metavar="FILE", type=click.Path(),
                     help="The token that requests have to show (Authorization: Bearer TOKEN); mode 600."),
        click.option("--http", metavar="URL|off", type=_Url(),
                     help="Serve /healthz, /readyz and /metrics at http[s]://HOST:PORT; beyond loopback with a token "
                          f"or a client's certificate only. [default: {default}]"),
    ):  # fmt: skip
        option(with_http)
    return with_http  # type: ignore[return-value]


def http_of_proxy(listen: str, guard: Guard) -> Address | None:
    """Return where a proxy's status page is by default: at base port + 5; nowhere for ipc.

    Where other machines could reach it, it is on loopback, unless `guard` keeps others out.
    """
    endpoint = Endpoints.parse(listen).http
    if not endpoint.startswith("tcp://"):
        return None
    found = replace(Address.parse(endpoint.removeprefix("tcp://")), is_tls=guard.tls is not None)
    if found.is_local or guard.keeps_others_out:
        return found
    return replace(found, host="::1" if ":" in found.host else "127.0.0.1")


@contextlib.contextmanager
def status_page(
    program: str,
    http: Http,
    default: Address | None = None,
    on_refused: Callable[[str, str], object] = lambda why, where: None,
) -> Iterator[Status]:
    """Serve a Status while the block runs. It listens before anything else of the command begins.

    default:    where, when --http said nothing; where that is taken, a warning says that there is no page
    on_refused: see StatusServer
    errors:     TransportError when it cannot listen where --http said
    """
    status = Status(program)
    with contextlib.ExitStack() as stack:
        address = http.address or default
        if address is not None and address != OFF:
            try:
                server = stack.enter_context(StatusServer(address, status.pages, http.guard, on_refused))
            except TransportError as error:
                if http.address is not None:
                    raise
                say(f"no status page: {error}; choose another address with --http")
            else:
                status.url = str(server.address)
                status.watch("http", server.figures)
                _tell(server.address, http)
        yield status


def _tell(address: Address, http: Http) -> None:
    if not address.is_local and not address.is_tls:
        say(f"{address} can be reached from other machines without TLS: its token can be read on the way")
    if http.address is None:
        return
    say(f"status page at {address}")
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError as error:
        say(f"/metrics is not served: {not_installed(error.name, 'ops')}")


def _refuse_open(address: Address | None, guard: Guard) -> None:
    """Errors: UsageError for a page that other machines could ask without a word, or whose TLS is half said."""
    if address is None or address == OFF:
        return
    if address.is_tls != (guard.tls is not None):
        raise click.UsageError(f"--http {address}: https needs --http-cert and --http-key, and these need https")
    if not address.is_local and not guard.keeps_others_out:
        raise click.UsageError(
            f"--http {address} can be reached from other machines, and would answer anyone: expected a loopback "
            "address, --http-token-file FILE, or https with --http-client-ca FILE"
        )


def _token(path: str | None) -> str:
    if path is None:
        return ""
    token = read_secret(path).decode("ascii", "replace").strip()
    if not _TOKEN.fullmatch(token):
        raise Fail(f"{path} holds no token: expected one line of 16 to 1000 letters, digits and marks", Exit.MISSING)
    return token


def _tls(cert: str | None, key: str | None, client_ca: str | None) -> ssl.SSLContext | None:
    """Errors: UsageError when they do not belong together; Fail for files that cannot be used."""
    if (cert is None) != (key is None) or (client_ca is not None and cert is None):
        raise click.UsageError("--http-cert and --http-key go together, and --http-client-ca with them")
    if cert is None or key is None:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        private_files.refuse_exposed(key)
        tls.load_cert_chain(cert, key)
        if client_ca is not None:
            tls.load_verify_locations(client_ca)
            tls.verify_mode = ssl.CERT_REQUIRED
    except private_files.Exposed as error:
        raise Fail(str(error), Exit.MISSING) from None
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (cert, key, client_ca)))
        raise Fail(f"{files} cannot be used: {error}", Exit.MISSING) from None
    return tls

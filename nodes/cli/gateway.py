"""`fabric gateway`: pages and agents in browsers."""

from __future__ import annotations

import asyncio
import secrets
import signal
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from fabric import private_files
from fabric.errors import TopicError, expected
from nodes.cli.exits import Exit, Fail, say, say_ready
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node, read_secret
from nodes.cli.secret_file import read_long_secret
from nodes.gateway.credentials import Credential, read_agents
from nodes.gateway.forwarded import HEADERS, Proxies
from nodes.gateway.policy import Policy, origin_of
from nodes.gateway.privacy_rules import Rules, read_rules
from nodes.operate import logs
from nodes.operate.extras import not_installed
from nodes.operate.status import Status
from nodes.operate.systemd import READY, STOPPING, notify
from nodes.rules.cobrowse import CONSENTS
from nodes.rules.fields import ID_WORDS, is_id

if TYPE_CHECKING:
    from fabric.node.node import Node
    from nodes.gateway.endings import EndedFile
    from nodes.gateway.files import Files
    from nodes.gateway.gateway import Gateway
    from nodes.gateway.hub import Settings


READY_S = 10.0
FRAME_S = 1.0
"""How long it waits to hear of a frame node before it says that there is none; they are asked at once."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--listen", metavar="URL", default="http://127.0.0.1:8080", show_default=True,
              help="Where browsers connect: http://HOST:PORT; port 0 is any that is free.")  # fmt: skip
@click.option("--allow-origin", "origins", metavar="URL", multiple=True,
              help="Origin of a site whose pages may use this gateway; repeat it.")  # fmt: skip
@click.option("--load-from", metavar="URL", multiple=True,
              help="Origin, such as a CDN, that consoles may load pictures and style from; repeat it.")  # fmt: skip
@click.option("--agents", "agents_path", metavar="FILE", type=click.Path(),
              help="The agents that may sign in: lines of `fabric gateway-token`.")  # fmt: skip
@click.option("--secret-file", metavar="FILE", type=click.Path(),
              help="Secret that signs tokens, 16 bytes or more; gateways with the same share sessions.")  # fmt: skip
@click.option("--ended", "ended_path", metavar="FILE", type=click.Path(),
              help="Where it is kept who has signed out. [default: --secret-file with .ended]")  # fmt: skip
@click.option(
    "--public-subscribe", metavar="FILTER", multiple=True, help="Topics that pages may subscribe to; repeat it."
)
@click.option("--public-publish", metavar="FILTER", multiple=True, help="Topics that pages may publish on; repeat it.")
@click.option(
    "--public-retain", metavar="FILTER", multiple=True, help="Of those, topics that pages may retain; repeat it."
)
@click.option("--consent", type=click.Choice(CONSENTS), default="ask", show_default=True,
              help="Whether a visitor is asked, or has consented by giving an agent the code.")  # fmt: skip
@click.option("--private", is_flag=True, help="Agents see masked what a page does not mark as shown.")
@click.option("--privacy", "privacy_path", metavar="FILE", type=click.Path(),
              help="Rules on what agents see of pages, in TOML; read again on SIGHUP.")  # fmt: skip
@click.option("--demo-shop", is_flag=True,
              help="Serve a demo shop under /shop/, and a page to try privacy rules on under /privacy/.")  # fmt: skip
@click.option("--max-pages", default=10_000, show_default=True, type=click.IntRange(1), help="Pages at once at most.")
@click.option("--max-of-address", default=1_000, show_default=True, type=click.IntRange(1),
              help="Of these, from one address; twice as many from one network.")  # fmt: skip
@click.option("--new-rate", default=2.0, show_default=True, type=PositiveNumber(),
              help="Pages that one address may begin a second; each takes a code.")  # fmt: skip
@click.option(
    "--rate", default=100.0, show_default=True, type=PositiveNumber(), help="Messages that a page may send a second."
)
@click.option("--queue", default=1_000, show_default=True, type=click.IntRange(10),
              help="Messages that may wait for a slow browser before it is cut off.")  # fmt: skip
@click.option("--resume", "resume_s", metavar="S", default=30.0, show_default=True, type=PositiveNumber(),
              help="How long a session waits for its page to come back.")  # fmt: skip
@click.option("--tls-cert", metavar="FILE", type=click.Path(), help="Certificate chain, PEM.")
@click.option("--tls-key", metavar="FILE", type=click.Path(), help="Its key, PEM.")
@click.option("--public-url", metavar="URL", help="Where browsers find this gateway; other names of it are refused.")
@click.option("--behind-proxy", is_flag=True,
              help="All requests come through one proxy, which sets X-Forwarded-Proto and -For.")  # fmt: skip
@click.option("--trusted-proxy", "trusted_proxies", metavar="NET", multiple=True,
              help="Network of proxies, which may be several in a row, such as 10.0.0.0/24; repeat it.")  # fmt: skip
@click.option("--forwarded", "forwarded", type=click.Choice(HEADERS), default=HEADERS[0], show_default=True,
              help="The header that proxies say addresses in.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Its name, one topic level. [default: random]")
@click.option("--verbose", is_flag=True, help="Log more; session ids are hashed.")
@operating_options
@connect_option
@connect_timeout_option
def gateway(
    listen: str,
    origins: tuple[str, ...],
    load_from: tuple[str, ...],
    agents_path: str | None,
    secret_file: str | None,
    ended_path: str | None,
    public_subscribe: tuple[str, ...],
    public_publish: tuple[str, ...],
    public_retain: tuple[str, ...],
    consent: str,
    private: bool,
    privacy_path: str | None,
    demo_shop: bool,
    max_pages: int,
    max_of_address: int,
    new_rate: float,
    rate: float,
    queue: int,
    resume_s: float,
    tls_cert: str | None,
    tls_key: str | None,
    public_url: str | None,
    behind_proxy: bool,
    trusted_proxies: tuple[str, ...],
    forwarded: str,
    name: str | None,
    verbose: bool,
    http: Http,
    log_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Run a gateway, through which pages and agents in browsers reach the fabric.

    It serves site_connect.js and the frame to pages, a console under /agent/ to agents, /healthz and /readyz. Figures
    are at --http, where browsers need not reach them. When it can be used it prints one line of JSON on stdout, with
    "event": "ready". On SIGTERM or Ctrl-C it drains, and then it ends. On SIGHUP it reads --privacy again: pages that
    are here follow the new rules at once, and a file that is wrong changes nothing.

    \b
    Example:
      fabric gateway-token ada --buttons help --agents agents.jsonl
      fabric gateway --agents agents.jsonl --allow-origin https://shop.example.org
    """
    try:
        from nodes.gateway.budgets import Shares
        from nodes.gateway.files import Files
        from nodes.gateway.hub import Settings
        from nodes.gateway.limits import Limits
    except ModuleNotFoundError as error:
        raise Fail(not_installed(error.name, "web"), Exit.MISSING) from None
    if name is not None and not is_id(name):
        raise click.UsageError(expected("--name", name, ID_WORDS))
    logs.begin("fabric gateway", as_json=log_json, verbose=verbose)
    host, port, tls = _where(listen, tls_cert, tls_key)
    try:
        policy = Policy.of(public_subscribe, public_publish, origins, public_retain)
        loaded = frozenset(map(origin_of, load_from))
        public_url = None if public_url is None else origin_of(public_url)
        proxies = Proxies.of(trusted_proxies, forwarded) if behind_proxy or trusted_proxies else None
    except (TopicError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    settings = Settings(
        secret=secrets.token_bytes(32) if secret_file is None else read_long_secret(secret_file),
        policy=policy,
        limits=Limits(rate=rate, burst=2 * rate, queue_messages=queue),
        consent=consent,
        resume_s=resume_s,
        lease_s=max(10.0, resume_s),
        max_pages=max_pages,
        max_of_address=max_of_address,
        shares=Shares.of(new_rate),
        proxies=proxies,
        public_url=public_url,
        is_loopback=host in LOOPBACK,
    )
    agents = {} if agents_path is None else _read_agents(agents_path)
    rules = _RulesFile(privacy_path, private)
    try:
        rules.read()
    except (OSError, ValueError) as error:
        raise Fail(f"{privacy_path} cannot be used: {error}", Exit.MISSING) from None
    files = Files(policy.origins, load_from=loaded, shop=demo_shop)
    if unbuilt := files.unbuilt():
        raise Fail(
            f"what browsers load is not built ({', '.join(unbuilt[:2])}, …): expected scripts/build-web in a clone, "
            "which needs Node.js 18 and npm, and where it is installed from there, pip install '.[web]' after it",
            Exit.MISSING,
        )
    if host not in LOOPBACK and tls is None and proxies is None:
        say(f"{listen} is neither loopback nor TLS: codes, chats and passwords can be read on the way")
    if host not in LOOPBACK and public_url is None:
        say("any name that leads here is taken for this gateway's; --public-url says which is")
    kept = _ended_file(ended_path, secret_file)
    with status_page("gateway", http) as status, open_node(connect, connect_timeout_s, name) as node:
        status.watch_node(node)
        _check_rights(node, public_subscribe, public_publish)
        parts = _Parts(settings, agents, files, rules, kept)
        return asyncio.run(_run(node, parts, (host, port, tls), status))


def _check_rights(node: Node, subscribe: Sequence[str], publish: Sequence[str]) -> None:
    """What pages may do, the gateway has to be allowed. Errors: Fail, rather than that each page finds out."""
    for each in subscribe:
        if why := node.why_not("subscribe", each):
            raise Fail(f"--public-subscribe {each}: {why}", Exit.DENIED)
    for each in publish:
        if why := node.why_not("publish", each.replace("+", "x").replace("#", "x")):
            raise Fail(f"--public-publish {each}, of which one is tried: {why}", Exit.DENIED)


@dataclass(frozen=True)
class _Parts:
    """What a gateway is made of, beside its node."""

    settings: Settings
    agents: dict[str, Credential]
    files: Files
    rules: _RulesFile
    kept: EndedFile | None


async def _run(
    node: Node,
    parts: _Parts,
    where: tuple[str, int, ssl.SSLContext | None],
    status: Status,
) -> Exit:
    from nodes.gateway.gateway import Gateway

    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def end(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)  # a second one ends the process as it would any other
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    running = Gateway(node, parts.settings, parts.agents, parts.files, parts.rules.held, parts.kept)
    loop.add_signal_handler(signal.SIGHUP, parts.rules.again, running)
    status.watch("gateway", running.figures)
    host, port, tls = where
    try:
        port = await running.start(host, port, tls)
    except OSError as error:
        await running.drain()
        raise Fail(f"cannot listen at {host}:{port}: {error.strerror or error}", Exit.MISSING) from None
    await _serve(running, f"{'https' if tls else 'http'}://{_bracketed(host)}:{port}", node, ended, status)
    await running.drain()
    return Exit.DONE


async def _serve(running: Gateway, url: str, node: Node, ended: asyncio.Event, status: Status) -> None:
    if not await running.is_ready(READY_S):
        say(f"other gateways cannot ask this one yet, after {READY_S:g} s: the mesh has not acknowledged its inbox")
    if not await running.has_frame_node(FRAME_S):
        say("no frame node is there yet: pages get no contact code, and /readyz answers 503, until there is one")
    status.ready_with(node, running.problem)
    say_ready(f"serving browsers at {url}", name=node.name, url=url, home=node.home)
    notify(READY)
    await ended.wait()
    notify(STOPPING)
    say("draining")


class _RulesFile:
    """The operator's rules on what leaves pages, from the file of `--privacy`.

    path:        of the file; None: there is none
    is_private:  whether `--private` was given
    """

    def __init__(self, path: str | None, is_private: bool) -> None:
        self._path, self._is_private = path, is_private
        self.held = Rules(is_private=is_private)
        """As they were read last without an error. Changed by `read`."""

    def read(self) -> None:
        """Read the file; an error changes nothing. Errors: OSError, ValueError."""
        if self._path is not None:
            self.held = read_rules(Path(self._path).read_text(encoding="utf-8"), is_private=self._is_private)

    def again(self, running: Gateway) -> None:
        """On SIGHUP: read the file again, and have all pages follow it. A file that is wrong changes nothing."""
        if self._path is None:
            say("SIGHUP: there is no --privacy file to read again")
            return
        try:
            self.read()
        except (OSError, ValueError) as error:
            running.hub.counts["privacy_file"] += 1
            say(f"{self._path} is not used, the rules before it stay: {error}")
            return
        running.set_rules(self.held)
        say(f"{self._path}: {len(self.held.rules)} rules hold from now on")


def _where(listen: str, cert: str | None, key: str | None) -> tuple[str, int, ssl.SSLContext | None]:
    """Return host, port and TLS. Errors: UsageError; Fail for files that cannot be read."""
    if (cert is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    try:
        parts = urlsplit(origin_of(listen))
        port = urlsplit(listen).port
    except ValueError:
        raise click.UsageError(expected("--listen", listen, "http://HOST:PORT")) from None
    if (parts.scheme == "https") != (cert is not None):
        raise click.UsageError(
            "https needs --tls-cert, and --tls-cert needs https; behind a TLS proxy use http and --behind-proxy"
        )
    tls = None
    if cert is not None and key is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            private_files.refuse_exposed(key)
            tls.load_cert_chain(cert, key)
        except private_files.Exposed as error:
            raise Fail(str(error), Exit.MISSING) from None
        except (OSError, ssl.SSLError) as error:
            raise Fail(f"{cert} and {key} cannot be used: {error}", Exit.MISSING) from None
    default = 443 if tls else 80
    return parts.hostname or "127.0.0.1", default if port is None else port, tls


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _ended_file(path: str | None, secret_file: str | None) -> EndedFile | None:
    """Return where what has ended is kept; None without a secret file: nothing that is signed outlives the run."""
    from nodes.gateway.endings import EndedFile

    if path is None and secret_file is None:
        return None
    found = EndedFile(Path(path or f"{secret_file}.ended"))
    try:
        found.read(time.time())
    except OSError as error:
        if path is not None:
            raise Fail(f"{path} cannot be used: {error}", Exit.MISSING) from None
        say(f"sign-outs are not kept over a restart, {error}; --ended names a file")
        return None
    return found


def _read_agents(path: str) -> dict[str, Credential]:
    try:
        return read_agents(read_secret(path).decode())
    except ValueError as error:
        raise Fail(f"{path} cannot be used: {error}", Exit.MISSING) from None

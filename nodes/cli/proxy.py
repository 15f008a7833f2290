"""`fabric proxy`: run a proxy of the mesh."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import click

from fabric.addresses import reasons
from fabric.core.retained import MAX_BYTES, MAX_TOPICS
from fabric.endpoints import DEFAULT_BASE, Endpoints
from fabric.errors import expected
from fabric.identity.keys import Keys
from fabric.identity.keys import load as load_keys
from fabric.payloads import dumps
from fabric.proxy.proxy import Proxy, proxy_keys
from fabric.sockets import HWM_MSGS, give_memory_back
from nodes.cli.auditing import Note, audit_option, audit_stream, noting, watch
from nodes.cli.exits import Exit, on_one_terminal, plain
from nodes.cli.operating import Http, http_of_proxy, operating_options, status_page
from nodes.cli.options import Base, Between, PositiveNumber, Size, keys_option
from nodes.cli.signals import (
    TELLS_SENDERS,
    Sender,
    on_ending_signal,
    on_ending_signal_of,
    on_reload_signal,
    signals_held,
)
from nodes.cli.stdout import Outlet, write_lines
from nodes.operate import logs
from nodes.operate.health import proxy_death, proxy_problem
from nodes.operate.metrics import proxy_figures
from nodes.operate.systemd import READY, STOPPING, notify

log = logging.getLogger("fabric.proxy")
WARN_S = 60.0
"""How often it says that it is open to others."""
MAX_WAITING_LINES = 1_000
"""For a slow reader of stdout or stderr; beyond, lines are dropped."""
WRITE_S = 1.0
"""At the end, for the lines that still wait."""
JOIN_PATIENCE_S = 10.0
"""After this time without a mesh it says once what it waits for. It keeps asking the addresses of --join."""
UNANSWERED_S = 2.0
"""How often it looks which addresses of --join nobody answers at, and why. It tells each new reason."""
_STATES = {"ready": READY, "draining": STOPPING}
"""The events that a service manager is told of."""


_OF_PEERS = ("link_up", "link_down", "peer_joined", "peer_restarted", "peer_dead", "peer_back", "peer_left")
_AUDITED = frozenset((*_OF_PEERS, *(() if TELLS_SENDERS else ("draining",))))
"""The events that the audit stream has, too: `draining` where the system does not tell who asked for it."""


class IpcMode(click.ParamType):  # type: ignore[type-arg]
    """The mode of ipc sockets, in octal; who may use one may read and write."""

    name = "MODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value not in ("600", "660", "666"):
            self.fail(expected("mode", value, "600, 660 or 666"), param, ctx)
        return int(value, 8)


@click.command()
@click.option(
    "--listen",
    metavar="URL",
    type=Base(),
    default=DEFAULT_BASE,
    show_default=True,
    help="Base address: tcp://HOST:PORT takes PORT to PORT+5, ipc://PATH takes PATH.in and so on.",
)
@click.option(
    "--join", metavar="URL", type=Base(), multiple=True, help="Base address of any proxy of the mesh to join."
)
@click.option("--name", metavar="NAME", help="Its name in the mesh, one topic level. [default: made from the address]")
@click.option(
    "--advertise", metavar="URL", type=Base(), help="Address at which others reach it, where that is not --listen."
)
@click.option("--first", is_flag=True, help="With --join: start a new mesh when no proxy answers there.")
@click.option("--verbose", is_flag=True, help="Log each look at the addresses of --join, and why nobody answers.")
@click.option("--ipc-mode", metavar="MODE", type=IpcMode(), default="600", show_default=True,
              help="Who may use the sockets of an ipc base: 660 lets the group in, 666 everybody.")  # fmt: skip
@click.option("--drain", "drain_s", metavar="S", type=PositiveNumber(), default=5.0, show_default=True,
              help="How long its nodes have to move to another proxy after SIGTERM.")  # fmt: skip
@click.option("--queue-msgs", metavar="N", type=click.IntRange(1, 100_000_000), default=HWM_MSGS, show_default=True,
              help="Queue of each subscriber, in messages; one that is further behind loses its own.")  # fmt: skip
@click.option("--queue-bytes", metavar="SIZE", type=Size(), default="256MiB", show_default=True,
              help="What may wait for slow subscribers, all together; beyond, the slowest is cut off.")  # fmt: skip
@click.option("--stalled", "stalled_s", metavar="S", type=Between(0, 1_000_000, max_open=True), default=30.0,
              show_default=True,
              help="Cut off a subscriber that takes nothing for so long while something waits; 0: never.")  # fmt: skip
@click.option("--max-payload", metavar="SIZE", type=Size(), default="8MiB", show_default=True,
              help="Largest payload; a larger one ends its connection.")  # fmt: skip
@click.option("--retained-topics", metavar="N", type=click.IntRange(0), default=MAX_TOPICS, show_default=True,
              help="Topics whose last value is kept for later subscribers, at most.")  # fmt: skip
@click.option("--retained-bytes", metavar="N", type=click.IntRange(0), default=MAX_BYTES, show_default=True,
              help="Bytes of these values at most, with 256 for each.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print every event as a line of JSON, not only `ready`.")
@click.option("--observe", is_flag=True,
              help="With --keys: let everything in, and only tell what would have been refused.")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Listen beyond loopback without keys: who reaches it may do everything.")
@click.option("--identity", metavar="NAME", help="Whose key to use. [default: --name, or the only proxy there]")
@keys_option
@audit_option
@partial(operating_options, default="PORT+5 of --listen, on loopback")
def proxy(
    listen: str,
    join: tuple[str, ...],
    name: str | None,
    advertise: str | None,
    first: bool,
    verbose: bool,
    ipc_mode: int,
    keys: str | None,
    identity: str | None,
    observe: bool,
    insecure: bool,
    audit: str | None,
    drain_s: float,
    queue_msgs: int,
    queue_bytes: int,
    stalled_s: float,
    max_payload: int,
    retained_topics: int,
    retained_bytes: int,
    as_json: bool,
    http: Http,
    log_json: bool,
) -> Exit:
    """Run a proxy, one of the servers of the mesh that nodes connect to.

    When it is a member of the mesh it prints one line of JSON on stdout, with "event": "ready". On SIGTERM or Ctrl-C
    it drains: its nodes move to another proxy, and then it ends.

    With --keys only those come in who have a key, and do what their roles allow; see `fabric keys`. It reads keys.toml
    again as soon as that changes, and on SIGHUP. Without keys it listens on loopback only.

    \b
    Two meshed proxies on one machine:
      fabric proxy --listen tcp://127.0.0.1:5570 --name p1
      fabric proxy --listen tcp://127.0.0.1:5580 --name p2 --join tcp://127.0.0.1:5570
    """
    _check_exposed(listen, keys, insecure=insecure, observe=observe, identity=identity)
    _check_reachable(listen, advertise)
    logs.begin("fabric proxy", as_json=log_json, verbose=verbose)
    give_memory_back()

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] in _STATES:
            notify(_STATES[event["event"]])
        assert running is not None, "it tells nothing before it runs"
        # Its own `ready` lacks what only the proxy knows; the line for stdout has it.
        tell(running.ready_line() if event["event"] == "ready" else event)
        if event["event"] in _AUDITED:
            note({"event": event["event"], "who": event.get("id"), "from": event.get("base"), "door": "link"})

    def refused(why: str, where: str) -> None:
        note({"event": "http_refused", "from": where, "door": "http", "why": why})

    running: Proxy | None = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_reload_signal(lambda: running.reload() if running is not None else None))
        if audit is not None and TELLS_SENDERS:
            stack.enter_context(signals_held())  # before the first thread
        stream = stack.enter_context(audit_stream(audit))
        note = noting(stream)
        tell = stack.enter_context(_event_lines(as_json))
        stack.enter_context(_files_with(ipc_mode))
        try:
            running = Proxy(
                listen,
                join=join,
                name=name,
                advertise=advertise,
                first=first,
                drain_s=drain_s,
                hwm_msgs=queue_msgs,
                queue_bytes=queue_bytes,
                stalled_s=stalled_s,
                max_payload_bytes=max_payload,
                retained_topics=retained_topics,
                retained_bytes=retained_bytes,
                keys=_keys(keys, identity, name),
                observe=observe,
                on_audit=note,
                on_event=on_event,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        # In this order: what cannot be used ends it, before anything else is said or heard.
        page = status_page("proxy", http, http_of_proxy(listen, http.guard), refused)
        with contextlib.closing(running), page as status:
            status.name = running.name
            running.status_page = status.told
            status.watch("proxy", lambda: proxy_figures(running.stats()), lambda: proxy_death(running.stats()))
            status.ready(lambda: proxy_problem(running.stats()))
            watch(status, stream)
            note({"event": "started", "who": running.name, "from": listen})
            with (
                _draining(running, note if audit is not None else None),
                _told_when_late(running, join, tell),
                _told_who_does_not_answer(running, tell, first=first or not join),
                _warning_each_minute(_warnings(listen, keys, observe=observe)),
            ):
                running.run()
            note({"event": "ended", "who": running.name})
    return Exit.DONE


def _draining(running: Proxy, note: Note | None) -> contextlib.AbstractContextManager[None]:
    """On SIGTERM or SIGINT, have it drain, and note by whom, where there is an audit stream and the system tells."""
    if note is None or not TELLS_SENDERS:
        return on_ending_signal(running.drain, reloads=True)

    def drain(sender: Sender) -> None:
        note({"event": "drain", "who": sender.who, "from": sender.where, "why": sender.name})
        running.drain()

    return on_ending_signal_of(drain)


def _keys(folder: str | None, identity: str | None, name: str | None) -> Keys | None:
    """Errors: KeysError."""
    if folder is None:
        return None
    return proxy_keys(folder, name) if identity is None else load_keys(folder, identity, as_proxy=True)


def _check_exposed(listen: str, keys: str | None, *, insecure: bool, observe: bool, identity: str | None) -> None:
    """Errors: UsageError for a proxy that other machines could reach without keys, unless that is meant."""
    for option, given in (("--observe", observe), ("--identity", identity is not None)):
        if given and keys is None:
            raise click.UsageError(f"{option} goes with --keys DIR (or FABRIC_KEYS)")
    if keys is None and not insecure and not Endpoints.parse(listen).is_local:
        raise click.UsageError(
            f"--listen {listen} can be reached from other machines, and anyone who reaches it could read and write "
            "everything: expected --keys DIR, which `fabric keys init` makes, or --insecure"
        )


def _check_reachable(listen: str, advertise: str | None) -> None:
    """Errors: UsageError for an address that others cannot connect to, in the words of the command line."""
    for option, base in (("--advertise", advertise),) if advertise else (("--listen", listen),):
        if Endpoints.parse(base).is_wildcard:
            more = "" if advertise else ", or --advertise URL with one"
            raise click.UsageError(expected(option, base, f"a host that others can connect to{more}"))


def _warnings(listen: str, keys: str | None, *, observe: bool) -> list[str]:
    """Return what an operator should not forget."""
    if observe:
        return ["--observe: rights are not enforced: what would have been refused is let in, and only told"]
    if keys is None and not Endpoints.parse(listen).is_local:
        return [f"INSECURE: {listen} can be reached from other machines, and has no keys: anyone who reaches these "
                "ports can read and write everything"]  # fmt: skip
    return []


@contextlib.contextmanager
def _warning_each_minute(warnings: Sequence[str]) -> Iterator[None]:
    """Say these now, and each minute while the block runs."""
    ended = threading.Event()

    def warn() -> None:
        while True:
            for words in warnings:
                log.warning("%s", words)
            if ended.wait(WARN_S):
                return

    warner = threading.Thread(target=warn, name="fabric-proxy-warnings", daemon=True)
    if warnings:
        warner.start()
    try:
        yield
    finally:
        ended.set()
        if warnings:
            warner.join()


@contextlib.contextmanager
def _files_with(mode: int) -> Iterator[None]:
    """While the block runs, what this process makes has at most this mode: sockets are made by a thread of libzmq."""
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _told_when_late(running: Proxy, join: Sequence[str], tell: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Tell once that no mesh has been joined yet: after a mistyped --join the proxy would be silent otherwise."""

    def late() -> None:
        if not running.wait_ready(0):
            tell({"event": "waiting", "why": proxy_problem(running.stats()), "join": list(join)})

    timer = threading.Timer(JOIN_PATIENCE_S, late)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _told_who_does_not_answer(running: Proxy, tell: Callable[[dict[str, Any]], None], *, first: bool) -> Iterator[None]:
    """Tell which addresses of --join nobody answers at, and why: in two seconds, and again for each new reason."""
    ended = threading.Event()

    def watch() -> None:
        told: dict[str, str] = {}
        while not ended.wait(UNANSWERED_S):
            unanswered = running.stats().get("unanswered", [])
            found = reasons(unanswered) if unanswered else {}
            for base, why in found.items():
                log.info("asked %s: %s", base, why)
                if told.get(base) != why:
                    tell({"event": "nobody_answers", "base": base, "why": why, "first": first})
            if not unanswered and running.wait_ready(0):
                return
            told = found

    watcher = threading.Thread(target=watch, name="fabric-proxy-unanswered", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@contextlib.contextmanager
def _event_lines(as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that prints events: JSON on stdout, words on stderr.

    Printing has its own thread: a pipe that nobody reads must not stop the proxy's control thread, or its peers would
    declare it dead. A closed pipe does not end the proxy either.
    """
    outlet: Outlet[tuple[dict[str, Any], bool]] = Outlet(MAX_WAITING_LINES)

    def write(timeout_s: float | None) -> None:
        for event, is_words in outlet.items(timeout_s):
            with contextlib.suppress(OSError):
                if not is_words:
                    write_lines([dumps({**event, "ts": logs.utc(time.time())})])
                elif not logs.tell(event["event"], {key: event[key] for key in event.keys() - {"event"}}):
                    click.echo(f"{logs.stamp(time.time())}fabric proxy: {plain(event_words(event))}", err=True)

    def write_all() -> None:
        while not outlet.ended:
            write(None)
        write(0.0)

    def on_event(event: dict[str, Any]) -> None:
        if as_json or (event["event"] == "ready" and not on_one_terminal()):
            outlet.put((event, False))
        outlet.put((event, True))

    writer = threading.Thread(target=write_all, name="fabric-proxy-events", daemon=True)
    writer.start()
    try:
        yield on_event
    finally:
        outlet.end()
        writer.join(WRITE_S)


def event_words(event: dict[str, Any]) -> str:
    """Return an event in words: `peer joined p2 at tcp://…`; further fields follow as key=value."""
    if event["event"] == "nobody_answers":
        alone = "" if event["first"] else " (--first starts alone)"
        return f"nobody answers at {event['base']}: {event['why']}; still trying{alone}"
    rest = {key: value for key, value in event.items() if key not in ("event", "id", "base", "incarnation")}
    words = [str(event["event"]).replace("_", " ")]
    words += [str(event["id"])] if "id" in event else []
    words += [f"at {event['base']}"] if "base" in event else []
    words += [f"{key}={dumps(value)}" for key, value in rest.items()]
    return " ".join(words)

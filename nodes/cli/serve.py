"""`fabric serve`: a service out of a shell command."""

from __future__ import annotations

import threading
import time
from typing import Any

import click

from fabric.errors import LocalWireError, NotAllowed, ServiceError, expected
from fabric.node.node import Node
from fabric.payloads import dumps, to_json
from fabric.services import Request, Server, each
from fabric.topics import NAME, valid_name
from nodes.cli.children import Children, Outcome
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.ingest import payload_of
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.signals import on_ending_signal
from nodes.operate import logs
from nodes.operate.systemd import READY, STOPPING, notify

TIMEOUT_S = 30.0
DRAIN_S = 10.0
REACHABLE_S = 5.0
"""After so long without an ack it says that it is not ready."""
ENVELOPE_BYTES = 1_000
"""What a reply takes beside what the command wrote."""


@click.command()
@click.argument("name")
@click.option("--command", metavar="COMMAND", required=True, help="Given to /bin/sh -c, for each request.")
@click.option("--at-once", metavar="N", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="How many commands run at once; further requests wait.")  # fmt: skip
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=TIMEOUT_S, show_default=True,
              help="A command that runs longer is killed; so is one whose requester has given up.")  # fmt: skip
@click.option("--drain", "drain_s", metavar="S", type=PositiveNumber(), default=DRAIN_S, show_default=True,
              help="How long to wait at the end for commands that run.")  # fmt: skip
@click.option("--raw", is_flag=True, help="Reply with stdout as bytes, whatever it says.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each request.")
@operating_options
@connect_option
@connect_timeout_option
def serve(
    name: str,
    command: str,
    at_once: int,
    timeout_s: float,
    drain_s: float,
    raw: bool,
    as_json: bool,
    http: Http,
    log_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Serve NAME with a shell command: a request on its stdin, the reply from its stdout.

    COMMAND runs once for each request. A body that is a string, or bytes, is written to its stdin as it is, and any
    other as JSON; a request without a body has an empty stdin. What COMMAND writes, without the last line end, is read
    as JSON, and is a string where it is not JSON; nothing is nil. With --raw it is bytes. FABRIC_OP has the operation,
    FABRIC_REQUEST_KEY the idempotency key.

    An exit code other than 0 is an error: the requester is told the code, and the last line of stderr.

    When it can be asked it prints one line of JSON on stdout, with "event": "ready". SIGTERM and Ctrl-C drain: nothing
    more is taken, and what runs is finished. What has not ended after --drain is killed, with all that it started, and
    the exit code is 1. When this process is killed, so is what it started.

    \b
    Examples:
      fabric serve upper --command 'tr a-z A-Z'
      fabric serve disk --command 'df --output=pcent "$(cat)" | tail -1' --at-once 4 --timeout 2
      fabric request upper now hello
    """
    if not valid_name(name):
        raise click.UsageError(expected("name", name, NAME))
    if "\0" in command or not command.strip():
        raise click.UsageError(expected("--command", command, "a command for /bin/sh"))
    logs.begin("fabric serve", as_json=log_json)
    ended = threading.Event()
    with (
        on_ending_signal(ended.set),
        status_page("serve", http) as status,
        open_node(connect, connect_timeout_s) as node,
        Children(command, max_bytes=node.max_payload_bytes - ENVELOPE_BYTES) as children,
    ):
        handler = _Handler(name, children, timeout_s, raw=raw, as_json=as_json)
        server = Server(node, name, each(handler.handle), workers=at_once, max_batch=1)
        status.watch_node(node)
        status.ready_with(node, lambda: "" if server.wait_ready(0) else "it cannot be asked yet")
        _serve(node, server, name, ended)
        say("draining")
        notify(STOPPING)
        in_time = _close(server, children, drain_s)
    say(f"{handler.done:,} requests, {handler.failed:,} of them failed" + ("" if in_time else "; some were cut off"))
    return Exit.DONE if in_time else Exit.NOT_REACHED


def _serve(node: Node, server: Server, name: str, ended: threading.Event) -> None:
    """Say that it is ready once it is; return when it is to end. Errors: Fail when it may not serve any more."""
    since = time.monotonic()
    told = False
    while not server.wait_ready(0.05):
        if ended.is_set():
            return
        if not told and time.monotonic() - since > REACHABLE_S:
            told = True
            say(f"not ready yet, after {REACHABLE_S:g} s: the mesh has not acknowledged where it is asked")
    click.echo(dumps({"event": "ready", "name": name, "node": node.name, "instance": server.instance}))
    say(f"serving {name}")
    notify(READY)
    while not ended.wait(0.5):
        if denied := node.why_not("serve", name):
            raise Fail(denied, Exit.DENIED)


def _close(server: Server, children: Children, drain_s: float) -> bool:
    """Let it finish, and end what does not; return whether all that it had taken was answered."""
    late = threading.Timer(drain_s, children.close)
    late.daemon = True
    late.start()
    began = time.monotonic()
    server.close(drain_s + 2.0)  # what is killed after `drain_s` is answered, too
    late.cancel()
    return time.monotonic() - began < drain_s


class _Handler:
    """Runs the command for a request, and makes a reply of what became of it. Any of the server's threads."""

    def __init__(self, name: str, children: Children, timeout_s: float, *, raw: bool, as_json: bool) -> None:
        self._name, self._children, self._timeout_s = name, children, timeout_s
        self._raw, self._as_json = raw, as_json
        self._context = click.get_current_context()
        """Of the command: threads have none, and words begin with its name."""
        self._lock = threading.Lock()
        """Guards the counts, and orders what is printed."""
        self.done = self.failed = 0
        """Requests for which the command ran; and of these, those whose requester was told an error."""

    def handle(self, request: Request) -> Any:
        """Return the reply. errors: ServiceError for whatever the command did but end with 0; NotAllowed"""
        if "\0" in request.op + request.key:
            raise NotAllowed("no NUL may be in an operation or a key: they are in the command's environment")
        env = {"FABRIC_OP": request.op, "FABRIC_REQUEST_KEY": request.key}
        started = time.monotonic()
        limit_s = min(self._timeout_s, request.deadline - started)
        reply, outcome = None, None
        try:
            outcome = self._children.run(_stdin(request.body), env, limit_s)
            why = _problem(outcome, limit_s)
            if not why:
                reply = outcome.stdout if self._raw else reply_of(outcome.stdout)
        except OSError as error:
            why = f"the command could not be started: {error.strerror or error}"
        except LocalWireError as error:
            why = f"what the command wrote cannot be sent: {error}"
        self._tell(request, outcome, why, time.monotonic() - started)
        if why:
            raise ServiceError(why)
        return reply

    def _tell(self, request: Request, outcome: Outcome | None, why: str, elapsed_s: float) -> None:
        with self._lock:
            self.done += 1
            self.failed += bool(why)
            if self._as_json:
                line = {"event": "request", "op": request.op, "key": request.key, "code": outcome and outcome.code}
                click.echo(dumps({**line, "error": why or None, "elapsed_s": round(elapsed_s, 6)}))
            elif why:
                with self._context.scope(cleanup=False):
                    say(f"{request.op}: {why}")


def _stdin(body: Any) -> bytes:
    """Return what a body is on stdin."""
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else dumps(to_json(body))).encode()


def reply_of(stdout: bytes) -> Any:
    """Return what a command wrote as a payload: JSON, else text, else bytes; nothing is nil.

    errors: LocalWireError for a `$bin`, `$float` or `$map` that cannot be read
    """
    try:
        text = stdout.decode()
    except UnicodeDecodeError:
        return stdout
    text = text.removesuffix("\n").removesuffix("\r")
    return payload_of(text) if text else None


def _problem(outcome: Outcome, limit_s: float) -> str:
    """Return what a requester is told, or "" when the command has done its work."""
    told = f": {outcome.last_line}" if outcome.last_line else ""
    match outcome.why:
        case "time":
            return f"the command was killed after {limit_s:.3g} s{told}"
        case "size":
            return "the command was killed: it wrote more than a reply may have"
        case "closed":
            return "the command was killed: the service ends"
    if outcome.code == 0:
        return ""
    return f"{f'exit code {outcome.code}' if outcome.code > 0 else f'ended by signal {-outcome.code}'}{told}"

"""`fabric services` and `fabric request`: which services are there, and asking one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import click

from fabric.errors import Busy, RequestTimeout, ServiceError, StateError
from fabric.payloads import dumps, to_json
from fabric.services import Client
from fabric.services.directory import Instance
from fabric.services.presence import ANNOUNCE_S, Watcher
from nodes.cli.ingest import payload_of
from nodes.cli.options import Exit, Fail, PositiveNumber, connect_option, connect_timeout_option, open_node, plain

LISTEN_S = ANNOUNCE_S + 0.5  # everybody announces once in this time, also one who did not hear the question
COLUMNS = ("SERVICE", "INSTANCE", "STATE", "LOAD", "VERSION", "INFO")
MAX_INFO_CHARS = 80
DEADLINE_S = 5.0


@click.command()
@click.argument("name", required=False)
@connect_option
@connect_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the announcements, one JSON object an instance.")
def services(name: str | None, connect: Sequence[str], connect_timeout_s: float, as_json: bool) -> Exit:
    """List the live services, or the instances of the one of this NAME.

    Listens for 1.5 s: everybody announces each second. Ends with 4 when there is none.

    \b
    LOAD       0.000 idle, 1.000 takes no more
    INFO       what the service says of itself

    \b
    Example:
      fabric services frame --json | jq .instance
    """
    with open_node(connect, connect_timeout_s) as node:
        watcher = Watcher(node)
        try:
            watcher.watch(name)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        threading.Event().wait(LISTEN_S)
        found = sorted(watcher.live(), key=lambda each: (each.service, each.id))
    if as_json:
        for each in found:
            click.echo(dumps(to_json(each.to_map())))
    elif found:
        click.echo(table(found))
    if not found:
        raise Fail(f"no instance of {name} announced itself" if name else "no service announced itself", Exit.NOBODY)
    return Exit.DONE


def table(instances: Sequence[Instance]) -> str:
    """One line an instance under COLUMNS, padded."""
    rows = [COLUMNS, *(_row(each) for each in instances)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _row(each: Instance) -> tuple[str, ...]:
    info = dumps(to_json(dict(each.info))) if each.info else ""
    if len(info) > MAX_INFO_CHARS:
        info = info[: MAX_INFO_CHARS - 1] + "…"
    texts = (each.service, each.id, each.state, f"{each.load:.3f}", each.version, info)
    return tuple(plain(text) for text in texts)


@click.command()
@click.argument("name")
@click.argument("operation", metavar="OP")
@click.argument("body", required=False)
@connect_option
@connect_timeout_option
@click.option("--deadline", "deadline_s", metavar="S", type=PositiveNumber(), default=DEADLINE_S, show_default=True,
              help="How long to wait for the reply.")  # fmt: skip
@click.option("--key", metavar="K", help="With the same key one server does it once. [default: random]")
def request(
    name: str,
    operation: str,
    body: str | None,
    connect: Sequence[str],
    connect_timeout_s: float,
    deadline_s: float,
    key: str | None,
) -> Exit:
    """Ask the service NAME to do OP, and print the body of its reply as JSON.

    BODY is sent as what it says in JSON, and as a string if it is none; without BODY, nil is sent. The request goes to
    one instance, and to another when that one leaves, is busy or does not answer.

    Ends with 1 when there was no answer in time or it was refused, and with 4 when no instance is there.

    \b
    Example:
      fabric request clock now '{"zone": "UTC"}' --deadline 2
    """
    payload = None if body is None else payload_of(body)
    with open_node(connect, connect_timeout_s) as node, Client(node) as client:
        try:
            future = client.submit(name, operation, payload, deadline_s=deadline_s, key=key)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        try:
            reply = future.result()
        except RequestTimeout as error:
            raise Fail(str(error), Exit.NOT_REACHED if client.instances(name) else Exit.NOBODY) from None
        except Busy as error:
            raise Fail(f"busy: {error}; try again in {error.retry_after_s:g} s", Exit.NOT_REACHED) from None
        except (ServiceError, StateError) as error:
            raise Fail(f"refused, {type(error).__name__}: {error}", Exit.NOT_REACHED) from None
    click.echo(dumps(to_json(reply)))
    return Exit.DONE

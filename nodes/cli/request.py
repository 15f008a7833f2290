"""`fabric request`: ask a service, print its reply."""

from __future__ import annotations

import click

from fabric.errors import Busy, RequestTimeout, ServiceError, StateError
from fabric.payloads import dumps, to_json
from fabric.services.clocks import words
from nodes.cli.exits import Exit, Fail
from nodes.cli.ingest import payload_of
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node

DEADLINE_S = 5.0


@click.command()
@click.argument("name")
@click.argument("operation", metavar="OP")
@click.argument("body", required=False)
@connect_option
@connect_timeout_option
@click.option("--deadline", "deadline_s", metavar="S", type=PositiveNumber(), default=DEADLINE_S, show_default=True,
              help="How long to wait for the reply.")  # fmt: skip
@click.option(
    "--key", metavar="K", help="Idempotency key: a server does requests with the same key once. [default: random]"
)
def request(
    name: str,
    operation: str,
    body: str | None,
    connect: Connect,
    connect_timeout_s: float,
    deadline_s: float,
    key: str | None,
) -> Exit:
    """Ask the service NAME to do OP, and print the body of its reply as JSON.

    BODY is read as JSON, and sent as a string where it is not JSON; without BODY, nil is sent. The request goes to one
    instance, and to another when that one leaves, is busy or does not answer.

    Ends with 1 when no answer came in time or the request was refused, with 4 when no instance is there, and with 5
    when the rules of the mesh do not allow to ask this service.

    \b
    Example:
      fabric request clock now '{"zone": "UTC"}' --deadline 2
    """
    payload = None if body is None else payload_of(body)
    from fabric.services import Client

    with open_node(connect, connect_timeout_s) as node, Client(node) as client:
        try:
            if denied := node.why_not("request", name):
                raise Fail(denied, Exit.DENIED)
            future = client.submit(name, operation, payload, deadline_s=deadline_s, key=key)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        try:
            reply = future.result()
        except RequestTimeout as error:
            found = client.instances(name)
            apart = max((client.ahead_s(each.id) or 0.0 for each in found), key=abs, default=0.0)
            why = "; ".join(filter(None, (str(error), words(apart))))
            raise Fail(why, Exit.NOT_REACHED if found else Exit.NOBODY) from None
        except Busy as error:
            raise Fail(f"busy: {error}; try again in {error.retry_after_s:g} s", Exit.NOT_REACHED) from None
        except (ServiceError, StateError) as error:
            raise Fail(f"refused, {type(error).__name__}: {error}", Exit.NOT_REACHED) from None
    click.echo(dumps(to_json(reply)))
    return Exit.DONE

"""`fabric gateway-token`: make an agent's line for a gateway's agents file."""

from __future__ import annotations

import secrets
import sys

import click

from nodes.cli.exits import Exit, say
from nodes.gateway.credentials import SALT_BYTES, make


@click.command("gateway-token")
@click.argument("agent", metavar="ID")
@click.option("--name", help="The name visitors see. [default: the id]")
@click.option("--buttons", default="", metavar="ID,…", help="Ids of the chat buttons it may serve.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin instead of drawing one.")
def gateway_token(agent: str, name: str | None, buttons: str, password_stdin: bool) -> Exit:
    """Make a line for the --agents file of a gateway, with which the agent ID can sign in.

    The password is shown once, on stderr, and kept nowhere: the line holds only its hash.

    \b
    Example:
      fabric gateway-token ada --name Ada --buttons help,sales >>agents.jsonl
    """
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else secrets.token_urlsafe(12)
    served = [each for each in buttons.split(",") if each]
    try:
        credential = make(agent, name or agent, served, password, secrets.token_bytes(SALT_BYTES))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(credential.to_line())
    if not password_stdin:
        say(f"the password of {agent} is {password}")
    return Exit.DONE

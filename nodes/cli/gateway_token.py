"""`fabric gateway-token`: make an agent's line for a gateway's agents file."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import click

from fabric import private_files
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import read_secret
from nodes.gateway.credentials import SALT_BYTES, make, read_agents


@click.command("gateway-token")
@click.argument("agent", metavar="ID")
@click.option("--name", help="The name visitors see. [default: the id]")
@click.option("--buttons", default="", metavar="ID,…", help="Ids of the chat buttons it may serve.")
@click.option("--agents", "path", metavar="FILE", type=click.Path(),
              help="Add the line to this file, for its owner only, instead of printing it.")  # fmt: skip
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin instead of drawing one.")
def gateway_token(agent: str, name: str | None, buttons: str, path: str | None, password_stdin: bool) -> Exit:
    """Make a line for the --agents file of a gateway, with which the agent ID can sign in.

    The password is shown once, on stderr, and kept nowhere: the line holds only its hash.

    \b
    Example:
      fabric gateway-token ada --name Ada --buttons help,sales --agents agents.jsonl
    """
    if path is not None:
        _refuse_known(path, agent)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else secrets.token_urlsafe(12)
    served = [each for each in buttons.split(",") if each]
    try:
        credential = make(agent, name or agent, served, password, secrets.token_bytes(SALT_BYTES))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if path is None:
        click.echo(credential.to_line())
    else:
        private_files.append(path, f"{credential.to_line()}\n".encode())
    if not password_stdin:
        say(f"the password of {agent} is {password}")
    return Exit.DONE


def _refuse_known(path: str, agent: str) -> None:
    """Errors: Fail when the file has this agent already, or cannot be used."""
    if not Path(path).exists():
        return
    try:
        known = read_agents(read_secret(path).decode())
    except ValueError as error:
        raise Fail(f"{path} cannot be used: {error}", Exit.MISSING) from None
    if agent in known:
        raise Fail(f"{path} has {agent} already: expected a file without that line", Exit.MISSING)

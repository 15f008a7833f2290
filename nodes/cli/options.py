"""What the options of `fabric` share: addresses, times, and the node that a command connects."""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from fabric import private_files
from fabric.endpoints import DEFAULT_BASE, Endpoints
from fabric.errors import expected
from fabric.node.node import Node
from nodes.cli.exits import Exit, Fail
from nodes.rules.fields import Field

STORE = "FABRIC_STORE"
"""The environment variable with the URL of the frame nodes' store."""
CONNECT_TIMEOUT_S = 10.0
MESH_TIMEOUT_S = 2.5
"""How long to listen for the proxies, which announce themselves every second."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Base(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on only
    """A base address. An environment variable may hold several, with spaces or commas between."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return Endpoints.parse(value).base
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return re.split(r"[,\s]+", rv.strip(", \t\n"))


class PositiveNumber(click.ParamType):  # type: ignore[type-arg]
    """A finite number above zero, for seconds and rates. (click's FloatRange lets `nan` through.)"""

    name = "NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(expected("number", value, "a number above 0"), param, ctx)
        return number


def check(what: str, value: Any, field: Field) -> None:
    """Raise wrong usage for a value that a frame node would refuse later, where nobody would see it."""
    if not field.fits(value):
        raise click.UsageError(expected(what, value, field.expected))


def read_secret(path: str) -> bytes:
    """Return what a secret file holds. Errors: Fail when it cannot be read, or when others can."""
    try:
        return private_files.read_secret(path)
    except private_files.Exposed as error:
        raise Fail(str(error), Exit.MISSING) from None
    except OSError as error:
        raise Fail(f"{path} cannot be read: {error.strerror or error}", Exit.MISSING) from None


def connect_option(command: Command) -> Command:
    """Add --connect: the argument `connect`, one base address or several."""
    return click.option(
        "--connect",
        metavar="URL",
        multiple=True,
        type=Base(),
        envvar="FABRIC_CONNECT",
        default=[DEFAULT_BASE],
        show_default=True,
        show_envvar=True,
        help="Base address of a proxy. Give several, and the node moves to the next when one is lost.",
    )(command)


def connect_timeout_option(command: Command) -> Command:
    """Add --connect-timeout: the argument `connect_timeout_s`."""
    return click.option(
        "--connect-timeout",
        "connect_timeout_s",
        metavar="S",
        type=PositiveNumber(),
        default=CONNECT_TIMEOUT_S,
        show_default=True,
        help="How long to wait for a proxy to answer.",
    )(command)


def open_node(connect: Sequence[str], connect_timeout_s: float, name: str | None = None) -> Node:
    """Return a connected node; NotConnected when no proxy answers.

    name: for people, in `fabric top` and `fabric why`; default: the command, its process id and its host
    """
    return Node(list(connect), name=name or _node_name(), connect_timeout_s=connect_timeout_s)


def _node_name() -> str:
    context = click.get_current_context(silent=True)
    command = (context.info_name if context else None) or "fabric"
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:30]
    return f"{command}-{os.getpid()}@{host}"

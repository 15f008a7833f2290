"""What the options of `fabric` share: addresses, times, and the node that a command connects."""

from __future__ import annotations

import functools
import math
import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from fabric import private_files
from fabric.endpoints import DEFAULT_BASE, Endpoints
from fabric.errors import NotAdmitted, expected
from fabric.identity.keys import RULES_FILE, Keys
from fabric.identity.keys import load as load_keys
from fabric.node.node import Node
from nodes.cli.exits import Exit, Fail
from nodes.rules.fields import Field

STORE = "FABRIC_STORE"
"""The environment variable with the URL of the frame nodes' store."""
CONNECT_TIMEOUT_S = 10.0
NEWS_S = 2.0
"""A command whose key is refused tries on for so long after the rules were changed: proxies take them in a second."""
AGAIN_S = 0.1
"""Pause before it does."""
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
    wanted = "a number above 0"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(expected("number", value, self.wanted), param, ctx)
        return number


class Between(click.FloatRange):
    """click's FloatRange, which refuses `nan` as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kKMGT])(i?)[bB]?|[bB])?")


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, at least one: `1048576`, `1MiB`, `1.5G`. With `i`, units are powers of 1024, else of 1000."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _SIZE.fullmatch(str(value).strip())
        unit = (1024 if found[3] else 1000) ** (" KMGT".index((found[2] or " ").upper())) if found else 0
        size = int(float(found[1]) * unit) if found else 0
        if not 1 <= size < 2**62:
            self.fail(expected("size", value, "bytes, such as 1048576, 1MiB or 1.5GB"), param, ctx)
        return size


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


@dataclass(frozen=True)
class Connect:
    """Where a command connects, and as whom.

    bases:    addresses of proxies, at least one
    keys:     folder of keys; None: without
    identity: whose key to use; None: the only one there
    """

    bases: tuple[str, ...]
    keys: str | None = None
    identity: str | None = None

    def __str__(self) -> str:
        return ", ".join(self.bases)


def connect_option(command: Command) -> Command:
    """Add --connect, --keys and --identity: the argument `connect`, a Connect."""

    @functools.wraps(command)
    def with_connect(*args: Any, connect: Sequence[str], keys: str | None, identity: str | None, **options: Any) -> Any:
        if identity is not None and keys is None:
            raise click.UsageError(f"--identity {identity}: expected --keys DIR (or FABRIC_KEYS), which has its key")
        return command(*args, connect=Connect(tuple(connect), keys, identity), **options)

    # Each stands in front of what is here already: `help` shows the last one first.
    for option in (
        click.option("--identity", metavar="NAME", envvar="FABRIC_IDENTITY", show_envvar=True,
                     help="Whose key to use. [default: the only one in the folder that is no proxy's]"),
        keys_option,
        click.option("--connect", metavar="URL", multiple=True, type=Base(), envvar="FABRIC_CONNECT",
                     default=[DEFAULT_BASE], show_default=True, show_envvar=True,
                     help="Base address of a proxy. Give several, and the node moves to the next when one is lost."),
    ):  # fmt: skip
        option(with_connect)
    return with_connect  # type: ignore[return-value]


def keys_option(command: Command) -> Command:
    """Add --keys: the argument `keys`, a folder or None."""
    return click.option(
        "--keys",
        metavar="DIR",
        type=click.Path(),
        envvar="FABRIC_KEYS",
        show_envvar=True,
        help="Folder of keys, see `fabric keys`. [default: without keys]",
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


def open_node(connect: Connect, connect_timeout_s: float, name: str | None = None) -> Node:
    """Return a connected node.

    name:   for people, in `fabric top` and `fabric why`; default: the command, its process id and its host
    errors: NotConnected when no proxy answers, NotAdmitted when none admits the key; KeysError
    """
    name = name or _node_name()
    keys = None if connect.keys is None else load_keys(connect.keys, connect.identity)
    while True:
        try:
            return Node(connect.bases, name=name, connect_timeout_s=connect_timeout_s, keys=keys)
        except NotAdmitted:
            if keys is None or not _is_new(keys):
                raise
        time.sleep(AGAIN_S)  # the rules were changed just now, and proxies may not have looked since


def _is_new(keys: Keys) -> bool:
    """Whether the rules here were changed within the time in which proxies take them."""
    return time.time() - (keys.folder / RULES_FILE).stat().st_mtime < NEWS_S


def _node_name() -> str:
    context = click.get_current_context(silent=True)
    command = (context.info_name if context else None) or "fabric"
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:30]
    return f"{command}-{os.getpid()}@{host}"

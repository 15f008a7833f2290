"""`--store` and `--store-file`: where a command's store is. The URL may hold a password."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click
from click.core import ParameterSource

from fabric.errors import Busy
from nodes.cli.exits import Exit, Fail, plain, say
from nodes.cli.options import STORE, Command, read_secret
from nodes.deployment.secret_words import has_password
from nodes.operate.extras import not_installed

T = TypeVar("T")


def store_options(several: str) -> Callable[[Command], Command]:
    """Add --store and --store-file: the arguments `url` and `store_file`, for `store_url`.

    several: who may share one on PostgreSQL, in words
    """

    def add(command: Command) -> Command:
        for option in (
            click.option("--store-file", metavar="FILE", type=click.Path(),
                         help="A file of mode 600 that holds the URL: others can read what stands on a command line."),
            click.option("--store", "url", metavar="URL", envvar=STORE, show_envvar=True,
                         help=f"sqlite:///PATH, or postgresql://USER@HOST/DATABASE for several {several}."),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


def store_url(url: str | None, store_file: str | None) -> str:
    """Return the store's URL: from --store-file, from the environment, or from the command line, with a warning.

    It is taken out of the environment, so that nothing that is written or started later has it.
    """
    os.environ.pop(STORE, None)
    context = click.get_current_context()
    is_told = context.get_parameter_source("url") is ParameterSource.COMMANDLINE
    if store_file is not None:
        if is_told:
            raise click.UsageError("--store and --store-file: expected one of them")
        return read_secret(store_file).decode("utf-8", "replace").strip()
    if url is None:
        raise click.UsageError(f"Missing option '--store': expected it, --store-file FILE or {STORE}")
    if is_told and has_password(url):
        say("WARNING: every user of this machine can read the password in --store, in its list of processes. Change "
            f"it, and give the URL by --store-file FILE (chmod 600 FILE) or {STORE}, or use ~/.pgpass")  # fmt: skip
    return url


def open_store(url: str, open_it: Callable[[], T]) -> T:
    """Open a store. Errors: Fail or UsageError, whose words never hold a password from its URL.

    url:     of it; errors say which store it is, see `nodes.databases.opening.shown`
    open_it: imports what it needs, and opens the store
    """
    try:
        return open_it()
    except ModuleNotFoundError as error:
        raise Fail(not_installed(error.name, "store"), Exit.MISSING) from None
    except ValueError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise Fail(plain(str(error)), Exit.MISSING) from None
        raise click.UsageError(f"--store cannot be used: {error}") from None
    except Busy as error:
        from nodes.databases.opening import shown, why_store

        raise Fail(f"cannot open the store {shown(url)}: {why_store(error)}", Exit.MISSING) from None

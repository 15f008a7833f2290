"""`fabric plan`: what `scripts/up` would start."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from fabric.endpoints import DEFAULT_BASE
from nodes.cli.exits import Exit, Fail
from nodes.cli.options import STORE, Base
from nodes.deployment import description
from nodes.deployment.plan import Plan, make

_BOTH = re.compile(r"(\w+(?: = (?:'[^']*'|\w+))?) \((--[a-z-]+)\)")
"""A key, with its value or without, and the flag for it."""


@click.command()
@click.argument("path", metavar="[FILE]", required=False, type=click.Path())
@click.option("--proxies", type=click.IntRange(1), help="How many proxies. [default: 1]")
@click.option("--frames", type=click.IntRange(0), help="How many frame nodes. [default: 0]")
@click.option("--pages", type=click.IntRange(0), help="How many hosted pages, in one process. [default: 0]")
@click.option("--store", metavar="URL",
              help=f"The frame nodes' store. [default: {STORE}, or SQLite in the state folder]")  # fmt: skip
@click.option("--store-file", metavar="FILE", type=click.Path(),
              help="A file of mode 600 that holds the URL, where that has a password.")  # fmt: skip
@click.option("--listen", metavar="URL", type=Base(),
              help=f"Base of the first proxy; others are 10 ports apart. [default: {DEFAULT_BASE}]")  # fmt: skip
@click.option("--keys", metavar="DIR", type=click.Path(),
              help="Folder of keys; scripts/up makes and places them. [default: FABRIC_KEYS, or none]")  # fmt: skip
@click.option("--insecure", is_flag=True, default=None, help="Without keys, also where other machines reach a proxy.")
@click.option("--state", metavar="FOLDER", type=click.Path(), default="var", envvar="FABRIC_STATE", show_default=True,
              show_envvar=True, help="Where logs, process ids and the default store are.")  # fmt: skip
@click.option("--command", metavar="PATH", help="The fabric command to write into the plan. [default: this one]")
@click.option("--lines", is_flag=True, help="Print fields for scripts; see nodes/deployment/plan.py.")
def plan(path: str | None, state: str, command: str | None, lines: bool, **flags: Any) -> Exit:
    """Show the processes that `scripts/up` would start for a TOML file or flags, and start none.

    \b
    Examples:
      fabric plan --proxies 3 --frames 2 --pages 200
      fabric plan fabric.toml
    """
    wanted = {key: value for key, value in flags.items() if value is not None}
    if "store_file" in wanted:
        wanted["store_file"] = str(Path(wanted["store_file"]).absolute())  # processes run in the state folder
    if path is not None and wanted:
        raise click.UsageError(f"{path} and --{next(iter(wanted)).replace('_', '-')}: expected either a file or flags")
    fabric = command or shutil.which(sys.argv[0]) or "fabric"
    try:
        if path is not None:
            wanted = description.read(_text(path))
        if STORE in os.environ and not wanted.keys() & {"store", "store_file"}:
            wanted["store"] = os.environ[STORE]
        if "FABRIC_KEYS" in os.environ and not wanted.keys() & {"keys", "insecure"}:
            wanted["keys"] = os.environ["FABRIC_KEYS"]
        if "keys" in wanted:
            wanted["keys"] = str(Path(wanted["keys"]).absolute())
        made = make(wanted, fabric=fabric, state=str(Path(state).absolute()))
    except ValueError as error:
        raise click.UsageError(f"{path}: {as_keys(str(error))}" if path else as_flags(str(error))) from None
    for line in made.lines() if lines else _words(made):
        click.echo(line)
    return Exit.DONE


def as_keys(text: str) -> str:
    """Name keys of a file in what the plan says, which is `keys = 'FOLDER' (--keys)`."""
    return _BOTH.sub(r"\1", text)


def as_flags(text: str) -> str:
    """Name flags in it."""
    return _BOTH.sub(r"\2", text)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError("not text in UTF-8") from None
    except OSError as error:
        raise Fail(f"{path} cannot be read: {error.strerror}", Exit.MISSING) from None


def _words(made: Plan) -> list[str]:
    return [f"{each.name}\ton {each.host}\t{shlex.join((*each.command, *each.members))}" for each in made.processes]

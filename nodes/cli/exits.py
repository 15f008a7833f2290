"""How a command of `fabric` ends, and what it says: exit codes, words on stderr.

Data goes to stdout, words to stderr through `say`. A command returns an `Exit`, or raises: `Fail` for an end with words
and a code, click's `UsageError` for wrong usage, errors of the fabric as they come. `nodes.cli.main.run` turns all of
them into exit codes.
"""

from __future__ import annotations

import contextlib
import enum
import unicodedata
from dataclasses import dataclass
from typing import Any

import click

from nodes.operate import logs


class Exit(enum.IntEnum):
    """The exit codes of every command."""

    DONE = 0
    NOT_REACHED = 1  # not in time, or nothing matched, or a line was refused
    USAGE = 2
    MISSING = 3  # a local prerequisite is missing: the port is taken, a file cannot be read, a package is not installed
    NOBODY = 4  # no proxy answered, or no service
    DENIED = 5  # the rules of the mesh do not allow it
    INTERRUPTED = 130


class Fail(Exception):
    """The command ends here, with these words and this code."""

    def __init__(self, words: str, code: Exit) -> None:
        super().__init__(words)
        self.code = code


@dataclass
class Where:
    """The command that ended with an error, in words, `fabric keys new`. Groups set it; click forgets it then."""

    path: str = ""


class Group(click.Group):
    """A group of commands that notes in the context's `Where` which of them raised."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception:
            where = ctx.find_object(Where)
            if where is not None and not where.path:
                where.path = " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))
            raise


def say(words: str, path: str = "") -> None:
    """Write one line to stderr, after the command's name. A closed stderr is no error: nobody wants to read it.

    path: that name, where no command runs any more
    """
    context = click.get_current_context(silent=True)
    if logs.tell(words):
        return
    path = context.command_path if context else path or "fabric"
    with contextlib.suppress(OSError):
        click.echo(f"{path}: {plain(words)}", err=True)


def plain(text: str) -> str:
    """Write control characters out (`\\u000a`): text from a peer must not break lines or drive the terminal."""
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cc" else c for c in text)

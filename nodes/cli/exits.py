"""How a command of `fabric` ends, and what it says: exit codes, words on stderr.

Data goes to stdout, words to stderr through `say`. A command returns an `Exit`, or raises: `Fail` for an end with words
and a code, click's `UsageError` for wrong usage, errors of the fabric as they come. `nodes.cli.main.run` turns all of
them into exit codes.
"""

from __future__ import annotations

import contextlib
import enum
import sys
import time
import unicodedata
from dataclasses import dataclass
from typing import Any

import click

from fabric.payloads import dumps


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


class Told(str):
    """Words that also have a name and fields, for who reads logs by machine (`--log-json`).

    event:  what happened, in one word with `_`
    fields: what belongs to it
    """

    event: str
    fields: dict[str, Any]


def told(event: str, words: str, **fields: Any) -> Told:
    """Return these words with their event and its fields."""
    made = Told(words)
    made.event, made.fields = event, fields
    return made


def say(words: str, path: str = "") -> None:
    """Write one line to stderr, after the command's name, and after the time where stderr is a file. Where logs are
    JSON, `Told` is written by its event and fields. A closed stderr is no error: nobody wants to read it.

    path: that name, where no command runs any more
    """
    from nodes.operate import logs  # 10 ms, which a command that says nothing does not need

    context = click.get_current_context(silent=True)
    if logs.tell(words.event, words.fields) if isinstance(words, Told) else logs.tell(words):
        return
    path = context.command_path if context else path or "fabric"
    with contextlib.suppress(OSError):
        click.echo(f"{logs.stamp(time.time())}{path}: {plain(words)}", err=True)


def say_ready(words: str, **fields: Any) -> None:
    """Say that a command is ready: a line of JSON on stdout, for scripts, and words. Where one terminal shows both to
    a person, the words are enough."""
    if not on_one_terminal():
        click.echo(dumps({"event": "ready", **fields}))
    say(told("ready", words, **fields))


def on_one_terminal() -> bool:
    """Whether stdout and stderr are both shown on a terminal."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def plain(text: str) -> str:
    """Write control characters out (`\\u000a`): text from a peer must not break lines or drive the terminal."""
    if text.isprintable():
        return text
    return "".join(f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cc" else c for c in text)

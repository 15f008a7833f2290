"""The `fabric` command: its group, and its exit codes.

Each command is in a module of its name, imported when it is asked for: with all of them, a start takes twice as long.
What they share is in `options`, `operating`, `signals` and `driven`.

`run` is the one place that turns every end into an exit code; see `nodes.cli.exits.Exit`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from fabric.core import BUILD
from fabric.errors import FabricError, LocalWireError, NotAdmitted, NotAllowed, NotConnected, TopicError
from fabric.private_files import OTHERS
from nodes.cli.exits import Exit, Fail, Group, Where, plain, say

COMMANDS = (
    "agent", "events", "frame", "gateway", "gateway-token", "history", "keep", "keys", "load", "match", "page", "ping",
    "plan", "play", "proxy", "pub", "record", "request", "serve", "services", "status", "sub", "top", "topics", "wait",
    "why",
)  # fmt: skip
"""Their names, in alphabetical order. Module and function have the same, with `_` for `-`."""


def command(name: str) -> click.Command:
    """Return the command of this name in COMMANDS, imported."""
    word = name.replace("-", "_")
    found: click.Command = getattr(importlib.import_module(f"nodes.cli.{word}"), word)
    return found


class _Group(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. A reader of stdout that has gone had what it wanted: the code is 0. (click would say 1.)"""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            # Python flushes stdout once more at its own end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.DONE


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, help="Print the version and end.")
@click.pass_context
def fabric(context: click.Context, version: bool) -> None:
    """A publish/subscribe fabric with MQTT-style topics over ZeroMQ.

    \b
    In three terminals:
      fabric proxy --listen tcp://127.0.0.1:5570
      fabric sub 'truck/+/temperature'
      fabric pub truck/0001/temperature 21.5

    \b
    Data goes to stdout, words to stderr. Exit codes: 0 done, 1 not reached in time or
    no match, 2 wrong usage, 3 a local prerequisite is missing, 4 no proxy answered,
    5 denied by the rules of the mesh, 130 interrupted.
    """
    if version:
        click.echo(f"fabric {_version()} ({BUILD})")
    elif context.invoked_subcommand is None:
        raise click.UsageError(f"missing command: expected one of {', '.join(COMMANDS)}")


def run(args: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    where = Where()
    try:
        return int(fabric.main(args, prog_name="fabric", standalone_mode=False, obj=where) or 0)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "fabric"
        click.echo(f"{path}: {plain(error.format_message())} (see {path} --help)", err=True)
        return Exit.USAGE
    except Fail as error:
        say(str(error), where.path)
        return error.code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except (NotAdmitted, NotAllowed) as error:
        say(str(error), where.path)
        return Exit.DENIED
    except NotConnected as error:
        say(str(error), where.path)
        return Exit.NOBODY
    except (TopicError, LocalWireError) as error:
        say(str(error), where.path)
        return Exit.USAGE
    except (FabricError, OSError) as error:
        say(str(error), where.path)
        return Exit.MISSING


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which no other command needs

    try:
        return version("site-connect-fabric")
    except PackageNotFoundError:
        return "(run from a checkout, not installed)"


def main() -> None:
    """The entry point of the installed command. What it writes is for its owner only: files, folders, ipc sockets."""
    os.umask(OTHERS)
    sys.exit(run())

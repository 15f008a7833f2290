"""The `fabric` command: its group, and its exit codes.

Each command is in a module of its name, imported when it is asked for: with all of them, a start takes five times as
long. So `COMMANDS` says what each is, for `fabric --help` and for completion. What they share is in `options`,
`operating`, `signals` and `driven`.

`run` is the one place that turns every end into an exit code; see `nodes.cli.exits.Exit`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from fabric.errors import FabricError, LocalWireError, NotAdmitted, NotAllowed, NotConnected, TopicError
from fabric.private_files import OTHERS
from nodes.cli.exits import Exit, Fail, Group, Where, plain, say
from nodes.cli.signals import interrupted_by_all

COMMANDS = {
    "agent": "Act as an agent, driven by a shell script",
    "completion": "Print the completion script of a shell",
    "frame": "Run a frame node: contact codes, sessions and chats",
    "gateway": "Run a gateway: how browsers reach the fabric",
    "gateway-token": "Make an agent's line for a gateway's --agents file",
    "history": "Print messages that a keeper has kept",
    "keep": "Run a keeper: it stores messages for later readers",
    "keys": "Make and change keys: who may do what in the mesh",
    "load": "Measure rates, delays and losses of a mesh under load",
    "match": "Say which topics a filter matches, and why not others",
    "page": "Host visitors' pages, driven by a shell script",
    "ping": "Show the round trip through each proxy of the mesh",
    "plan": "Show the processes that `scripts/up` would start",
    "play": "Publish a recording again, with its timing",
    "proxy": "Run a proxy: a server of the mesh, nodes connect to it",
    "pub": "Publish messages: one, or many from stdin or a CSV file",
    "record": "Record messages into a file, for `fabric play`",
    "request": "Ask a service, and print its reply",
    "services": "List the live instances of services",
    "status": "Show the proxies of the mesh, once",
    "sub": "Print the messages that match topic filters",
    "top": "Show the mesh live: rates, slowest nodes, losses",
    "wait": "Wait until the mesh is ready",
    "why": "Say which nodes a message reaches, and why not others",
}
"""Each command, in alphabetical order, and what it is, in at most 60 characters. Its module and its function have the
same name, with `_` for `-`."""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command, or an option of `fabric`. click's own would import each command for its help."""
        found = [CompletionItem(name, help=words) for name, words in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

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
        from fabric.core import BUILD

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
    interrupted_by_all()
    os.umask(OTHERS)
    sys.exit(run())

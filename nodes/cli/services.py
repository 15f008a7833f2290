"""`fabric services`: who serves what, as announced."""

from __future__ import annotations

import threading

import click

from fabric.payloads import dumps, to_json
from fabric.services.clocks import TOLD_S
from fabric.services.directory import Instance
from fabric.services.presence import ANNOUNCE_S, Watcher
from nodes.cli.exits import Exit, Fail
from nodes.cli.options import Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text

LISTEN_S = ANNOUNCE_S + 0.5
"""Every instance announces itself once in this time, also one that did not hear the question."""
COLUMNS = ("SERVICE", "INSTANCE", "STATE", "LOAD", "CLOCK", "VERSION", "INFO")
MAX_INFO_CHARS = 80


@click.command()
@click.argument("name", required=False)
@connect_option
@connect_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the announcements, one JSON object an instance.")
def services(name: str | None, connect: Connect, connect_timeout_s: float, as_json: bool) -> Exit:
    """List the live instances of all services, or of the service NAME.

    Listens for 1.5 s, since every instance announces itself each second. Ends with 4 when none is found.

    \b
    LOAD       0.000 is idle, 1.000 takes no more requests
    CLOCK      how far its clock is from this one's, in seconds, where that is more than half a second
    INFO       what the instance tells about itself

    \b
    Example:
      fabric services frame --json | jq .instance
    """
    with open_node(connect, connect_timeout_s) as node:
        watcher = Watcher(node)
        try:
            watcher.watch(name)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        threading.Event().wait(LISTEN_S)
        found = sorted(watcher.live(), key=lambda each: (each.service, each.id))
        clocks = {each.id: round(-(watcher.ahead_s(each.id) or 0.0), 3) for each in found}
    if as_json:
        for each in found:
            click.echo(dumps(to_json({**each.to_map(), "clock_offset_s": clocks[each.id]})))
    elif found:
        click.echo(table_text(COLUMNS, (_row(each, clocks[each.id]) for each in found)))
    if not found:
        raise Fail(f"no instance of {name} announced itself" if name else "no service announced itself", Exit.NOBODY)
    return Exit.DONE


def _row(each: Instance, ahead_s: float) -> tuple[str, ...]:
    info = dumps(to_json(dict(each.info))) if each.info else ""
    if len(info) > MAX_INFO_CHARS:
        info = info[: MAX_INFO_CHARS - 1] + "…"
    clock = f"{ahead_s:+.1f}" if abs(ahead_s) > TOLD_S else ""
    return (each.service, each.id, each.state, f"{each.load:.3f}", clock, each.version, info)

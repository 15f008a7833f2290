"""`fabric status`: look at the mesh."""

from __future__ import annotations

import time

import click

from fabric.payloads import dumps, to_json
from nodes.cli.exits import Exit, Fail
from nodes.cli.options import MESH_TIMEOUT_S, Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe.announcements import announcements
from nodes.observe.mesh_view import COLUMNS, NUMERIC, MeshView


@click.command()
@connect_option
@connect_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the announcements, one JSON object a proxy.")
@click.option("--expect", "expected", metavar="PROXY", multiple=True,
              help="End with 1 unless this proxy is a member, and linked with the others; repeat it.")  # fmt: skip
def status(connect: Connect, connect_timeout_s: float, as_json: bool, expected: tuple[str, ...]) -> Exit:
    """Show the proxies of the mesh.

    Asks by subscribing to $fabric/proxy/+, where every proxy announces itself each second.

    \b
    STATE      member; dead: others lost it; absent: expected, and not known to any
    LINKS      links proven in both directions, of all peers known, dead ones among them
    SUBS       prefixes subscribed to, by nodes here and by other proxies
    RETAINED   topics whose last value is kept there
    IN/s …     messages a second since the announcement before: from publishers,
               to subscribers and links, from links to subscribers, to guests
    REFUSED    parts that were not a message, or not allowed
    BUILD      what carries its streams: compiled, or plain Python
    KEYS       yes: who may do what is decided by keys; observing: and only told; stale: by
               the rules before a file that is wrong; none: anybody of this machine may do
               everything; INSECURE: anybody who reaches it
    """
    view = MeshView()
    with open_node(connect, connect_timeout_s) as node:
        for _ in announcements(node, view, time.monotonic() + MESH_TIMEOUT_S):
            if view.is_complete(expected):
                break
    if not view.names:
        raise Fail(f"a proxy at {connect} answered, but none announced itself", Exit.NOBODY)
    if as_json:
        for each in view.as_json():
            click.echo(dumps(to_json(each)))
    else:
        rows = [(*row, view.keys_of(row[0])) for row in view.rows(expected)]
        click.echo(table_text((*COLUMNS, "KEYS"), rows, right=NUMERIC))
    if expected and (why := view.problem(expected=expected)):
        raise Fail(why, Exit.NOT_REACHED)
    return Exit.DONE

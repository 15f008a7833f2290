"""`fabric status`: look at the mesh."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import click

from fabric.payloads import dumps, to_json
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import MESH_TIMEOUT_S, Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe.announcements import announcements
from nodes.observe.mesh_view import COLUMNS, NUMERIC, MeshView
from nodes.observe.survey import SAMPLE_TELLING, Survey
from nodes.observe.targets import Target, merged, read, target, within_reach

PAGES_S = 2.0
"""How long all nodes together may take to say where their status pages are."""


@click.command()
@connect_option
@connect_timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the announcements, one JSON object a proxy.")
@click.option("--expect", "expected", metavar="PROXY", multiple=True,
              help="End with 1 unless this proxy is a member, and linked with the others; repeat it.")  # fmt: skip
@click.option("--targets", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True),
              help="Write to FILE where Prometheus finds all status pages, instead; - prints it.")  # fmt: skip
@click.option("--forget", is_flag=True, help="With --targets: drop those in FILE that do not answer.")
def status(
    connect: Connect,
    connect_timeout_s: float,
    as_json: bool,
    expected: tuple[str, ...],
    targets: str | None,
    forget: bool,
) -> Exit:
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

    With --targets every process of the mesh is asked for its status page, and FILE is replaced by a list for
    Prometheus's file_sd_configs. Those in FILE that do not answer stay in it, so that Prometheus misses them. Pages
    on the loopback of other machines are left out, and named.

    \b
    Example:
      fabric status --targets /etc/prometheus/targets.json
    """
    if forget and targets is None:
        raise click.UsageError("--forget goes with --targets FILE")
    if targets is not None:
        return _write_targets(targets, connect, connect_timeout_s, forget)
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


def _write_targets(path: str, connect: Connect, connect_timeout_s: float, forget: bool) -> Exit:
    """Write where all status pages are; 1 when not every node has answered, so that some may be missing.

    errors: Fail when the file cannot be read or written
    """
    before = [] if forget or path == "-" else _targets_in(Path(path))
    found, silent = _pages(connect, connect_timeout_s)
    here, away = within_reach(found, socket.gethostname())
    text = json.dumps([each.to_map() for each in merged(before, here)], indent=2) + "\n"
    if path == "-":
        click.echo(text, nl=False)
    else:
        try:
            beside = Path(f"{path}.{os.getpid()}.new")  # Prometheus must not read half a file
            beside.write_text(text)
            beside.replace(path)
        except OSError as error:
            raise Fail(f"{path} cannot be written: {error.strerror or error}", Exit.MISSING) from None
    for each in away:
        say(f"{each.process} has its page on the loopback of {each.host}: left out")
    if silent:
        say(f"{silent} nodes have not answered within {PAGES_S:g} s; those that were in the file stay")
    return Exit.NOT_REACHED if silent else Exit.DONE


def _pages(connect: Connect, connect_timeout_s: float) -> tuple[list[Target], int]:
    """Return the pages of all proxies and nodes, and how many nodes have not answered."""
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        counts = survey.nodes()
        expected = min(sum(counts.values()), SAMPLE_TELLING)
        answers = survey.ask_nodes("page", counts, sample=SAMPLE_TELLING).wait(expected, PAGES_S)
        with survey.lock:
            told = [each.get("page") for each in survey.view.as_json()]
    told += [answer.get("page") for _, answer in answers]
    return [found for each in told if (found := target(each)) is not None], max(0, expected - len(answers))


def _targets_in(path: Path) -> list[Target]:
    """Errors: Fail for a file that holds something else."""
    try:
        return read(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Fail(f"{path} cannot be read: {error.strerror or error}", Exit.MISSING) from None
    except ValueError as error:
        raise Fail(f"{path} is left as it is: {error}", Exit.MISSING) from None

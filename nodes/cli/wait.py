"""`fabric wait`: wait until the mesh is ready."""

from __future__ import annotations

import time

import click

from fabric.payloads import dumps
from nodes.cli.exits import Exit, say
from nodes.cli.options import Connect, PositiveNumber, connect_option, open_node
from nodes.observe.announcements import announcements
from nodes.observe.mesh_view import MeshView


@click.command()
@connect_option
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=30.0, show_default=True,
              help="How long to wait.")  # fmt: skip
@click.option("--proxies", metavar="N", type=click.IntRange(1), help="The mesh is ready only with N proxies or more.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
def wait(connect: Connect, timeout_s: float, proxies: int | None, as_json: bool) -> Exit:
    """Wait until the mesh is ready: all its proxies are members, and linked with each other.

    Ends with 0 when it is ready, 1 when it is not ready in time, and 4 when no proxy answered.

    \b
    Example:
      fabric wait --timeout 30 --proxies 2 && fabric pub truck/0001/temperature 21.5
    """
    view, started = MeshView(), time.monotonic()
    with open_node(connect, timeout_s) as node:
        for _ in announcements(node, view, started + timeout_s):
            if not view.problem(proxies):
                break
    problem, elapsed_s = view.problem(proxies), time.monotonic() - started
    if as_json:
        found = {"ready": not problem, "proxies": view.names, "problem": problem, "elapsed_s": round(elapsed_s, 3)}
        click.echo(dumps(found))
    say(f"not ready in {timeout_s:g} s: {problem}" if problem else f"ready: {', '.join(view.names)}")
    return Exit.NOT_REACHED if problem else Exit.DONE

"""`fabric frame`: run a frame node."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import click

from fabric.errors import expected
from nodes.cli.exits import Exit, say, say_ready
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.signals import leaving_at_once, on_ending_signal
from nodes.cli.stores import open_store, store_options, store_url
from nodes.operate import logs
from nodes.operate.status import Status
from nodes.operate.systemd import READY, STOPPING, notify
from nodes.rules.contact_codes import MAX_CODE_CHARS, CodeFormat
from nodes.rules.fields import ID_WORDS, is_id
from nodes.store.records import StoreOptions

if TYPE_CHECKING:
    from fabric.node.node import Node
    from nodes.frame_node.frame_node import FrameNode
    from nodes.store.store import Store

REACHABLE_S = 10.0
"""After this time a frame node that cannot be reached yet says so, once."""


@click.command()
@store_options("frame nodes")
@click.option(
    "--capacity", type=click.IntRange(1), default=10_000, show_default=True, help="How many pages may be live at once."
)
@click.option("--max-in-flight", type=click.IntRange(1), default=1_000, show_default=True,
              help="How many requests may wait or be worked on; beyond, it answers that it is busy.")  # fmt: skip
@click.option(
    "--code-length",
    type=click.IntRange(1, MAX_CODE_CHARS),
    default=6,
    show_default=True,
    help="Characters of a contact code.",
)
@click.option("--alphabet", default="0123456789", show_default=True, help="Characters of which codes are made.")
@click.option("--quarantine", "quarantine_s", metavar="S", type=PositiveNumber(), default=600.0, show_default=True,
              help="How long a code rests before it is given to another page.")  # fmt: skip
@click.option("--consent-timeout", "ask_s", metavar="S", type=PositiveNumber(), default=60.0, show_default=True,
              help="How long a visitor may think about an agent's request; then it is declined.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Its name, one topic level. [default: random]")
@click.option("--verbose", is_flag=True, help="Log each change of a page; codes and session ids are hashed.")
@operating_options
@connect_option
@connect_timeout_option
def frame(
    url: str | None,
    store_file: str | None,
    capacity: int,
    max_in_flight: int,
    code_length: int,
    alphabet: str,
    quarantine_s: float,
    ask_s: float,
    name: str | None,
    verbose: bool,
    http: Http,
    log_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Run a frame node, the service that owns contact codes, sessions and chats.

    When it can be asked it prints one line of JSON on stdout, with "event": "ready". While its store does not answer
    it says so, and goes on when the store answers again. On SIGTERM or Ctrl-C it drains, and then it ends.

    \b
    Example:
      fabric frame --store sqlite:///frame.db --capacity 10000
    """
    if name is not None and not is_id(name):
        raise click.UsageError(expected("--name", name, ID_WORDS))
    try:
        codes = CodeFormat(code_length, alphabet)
        options = StoreOptions(capacity=capacity, codes=codes, quarantine_s=quarantine_s, ask_s=ask_s)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    logs.begin("fabric frame", as_json=log_json, verbose=verbose)
    url = store_url(url, store_file)
    ended = threading.Event()
    with (
        on_ending_signal(ended.set),
        status_page("frame", http) as status,
        contextlib.closing(open_store(url, lambda: _open_store(url, options))) as store,
    ):
        from nodes.frame_node.frame_node import FrameNode

        with leaving_at_once(ended.is_set):
            node = open_node(connect, connect_timeout_s, name)
        with node:
            running = FrameNode(node, store, options, max_in_flight=max_in_flight, name=name)
            try:
                _watch(status, node, running)
                _serve(running, node, capacity, ended, status)
            finally:
                running.close()
    return Exit.DONE


def _watch(status: Status, node: Node, running: FrameNode) -> None:
    status.name = running.name
    status.watch_node(node)
    status.watch("frame", running.figures)
    status.watch("store", running.store_figures)


def _serve(running: FrameNode, node: Node, capacity: int, ended: threading.Event, status: Status) -> None:
    if not _is_ready(running, ended):
        return
    status.ready_with(node, running.problem)
    name, instance = running.name, running.server.instance
    say_ready(f"frame node {name} is ready", name=name, instance=instance, capacity=capacity)
    notify(READY)
    ended.wait()
    notify(STOPPING)
    status.ready(lambda: "draining")
    say("draining")


def _is_ready(running: FrameNode, ended: threading.Event) -> bool:
    waited_s = 0.0
    while not ended.is_set():
        if running.wait_ready(0.1):
            return True
        waited_s += 0.1
        if 0 <= waited_s - REACHABLE_S < 0.1:
            say(f"cannot be reached yet, after {REACHABLE_S:g} s: the mesh has not acknowledged its inbox")
    return False


def _open_store(url: str, options: StoreOptions) -> Store:
    from nodes.store.store import Store

    return Store(url, options)

"""`fabric frame`: run a frame node."""

from __future__ import annotations

import signal
import threading

import click

from nodes.cli_options import Exit, Fail, connect_option, connect_timeout_option, dumps, open_node, say


@click.command()
@click.option("--store", "url", metavar="URL", required=True,
              help="sqlite:///PATH, or postgresql://USER@HOST/DATABASE for several frame nodes.")  # fmt: skip
@click.option("--capacity", default=10_000, show_default=True, help="Live pages at most.")
@click.option("--max-in-flight", default=1_000, show_default=True, help="Requests at once at most; beyond it is busy.")
@click.option("--code-length", default=6, show_default=True, help="Characters of a contact code.")
@click.option("--alphabet", default="0123456789", show_default=True, help="Characters to choose from.")
@click.option("--quarantine", "quarantine_s", metavar="S", default=600.0, show_default=True,
              help="How long a code rests before it is given to another page.")  # fmt: skip
@click.option("--name", metavar="NAME", help="Its name, one topic level. [default: random]")
@connect_option
@connect_timeout_option
def frame(
    url: str,
    capacity: int,
    max_in_flight: int,
    code_length: int,
    alphabet: str,
    quarantine_s: float,
    name: str | None,
    connect: tuple[str, ...],
    connect_timeout_s: float,
) -> Exit:
    """Run a frame node until SIGTERM or Ctrl-C: it owns contact codes and the state of sessions and chats.

    When it can be asked it prints one line of JSON on stdout, with "event": "ready".

    \b
    Example:
      fabric frame --store sqlite:///frame.db --capacity 10000
    """
    try:
        from nodes.contact_codes import CodeFormat
        from nodes.frame import FrameNode
        from nodes.records import StoreOptions
        from nodes.store import Store
    except ModuleNotFoundError as error:
        raise Fail(f"{error.name} is not installed; right would be: pip install '.[store]'", Exit.LACKING) from None
    try:
        codes = CodeFormat(code_length, alphabet)
        options = StoreOptions(capacity=capacity, codes=codes, quarantine_s=quarantine_s)
        store = Store(url, options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        with open_node(connect, connect_timeout_s) as node:
            running = FrameNode(node, store, options, max_in_flight=max_in_flight, name=name)
            if running.wait_ready():
                click.echo(dumps({"event": "ready", "name": running.name, "capacity": capacity}))
                say(f"frame node {running.name} is ready")
                ended.wait()
            running.close()
    finally:
        store.close()
    return Exit.DONE if ended.is_set() else Exit.NOT_REACHED

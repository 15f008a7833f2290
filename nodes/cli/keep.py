"""`fabric keep`: run a keeper."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fabric.errors import Busy, expected
from fabric.protocol.histories import KEEPER, MAX_SHARES, seconds_of
from fabric.topics import NAME, valid_name, validate_filter
from nodes.cli.exits import Exit, Fail, say, say_ready
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.signals import leaving_at_once, on_ending_signal
from nodes.cli.stores import open_store, store_options, store_url
from nodes.operate import logs
from nodes.operate.status import Status
from nodes.operate.systemd import READY, STOPPING, notify

if TYPE_CHECKING:
    from fabric.node.node import Node
    from nodes.keep.keeper import Keeper
    from nodes.keep.store import KeepStore

_BYTES = re.compile(r"(\d{1,12})([kMGT]?)i?B?")
_FACTOR = {"": 1, "k": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
LAST_WORDS_S = 0.8
"""At the end, what a keeper says last may take so long in all: answers, and that it goes. There may be no proxy."""
CONFIRMED_S = 0.1
"""For so long at least it waits until a proxy has confirmed it: writing may have taken the time."""
REACHABLE_S = 10.0
"""After this time a keeper that is not ready yet says so, once."""


class Duration(click.ParamType):  # type: ignore[type-arg]
    """`90s`, `10m`, `24h`, `7d`; its value is in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes: `500M`, `2G`, powers of 1024."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _BYTES.fullmatch(value)
        if found is None or not int(found[1]):
            self.fail(expected("size", value, "a number of bytes, with k, M, G or T behind it: 500M, 2G"), param, ctx)
        return int(found[1]) * _FACTOR[found[2]]


class Share(click.ParamType):  # type: ignore[type-arg]
    """`1/2`: the first of two shares of the topics."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        which, _, of = value.partition("/")
        if not (which.isdecimal() and of.isdecimal() and 1 <= int(which) <= int(of) <= MAX_SHARES):
            self.fail(expected("share", value, f"K/N, K from 1 to N, and N at most {MAX_SHARES}"), param, ctx)
        return int(which), int(of)


@click.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@store_options("keepers")
@click.option("--last", metavar="N", type=click.IntRange(1), help="Keep the last N messages of each topic.")
@click.option("--for", "for_s", metavar="TIME", type=Duration(), help="Keep messages for so long: 90s, 10m, 24h, 7d.")
@click.option("--max-bytes", metavar="BYTES", type=Size(),
              help="Keep so many bytes in all, the newest: 500M, 2G. The database takes more than that.")  # fmt: skip
@click.option("--name", metavar="NAME", default=KEEPER, show_default=True,
              help="Under which it is asked. Keepers of one name have one store, or shares.")  # fmt: skip
@click.option("--share", metavar="K/N", type=Share(), default="1/1",
              help="Keep the K-th of N shares of the topics, each in a store for itself. [default: all]")  # fmt: skip
@click.option("--retained/--no-retained", default=True, show_default=True,
              help="Keep retained values, too, and give them back to a mesh that has lost them.")  # fmt: skip
@operating_options
@connect_option
@connect_timeout_option
def keep(
    filters: tuple[str, ...],
    url: str | None,
    store_file: str | None,
    last: int | None,
    for_s: float | None,
    max_bytes: int | None,
    name: str,
    share: tuple[int, int],
    retained: bool,
    http: Http,
    log_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Keep what matches the FILTERs in a store, and serve it to `fabric history`, `fabric sub --since` and programs.

    Without --last, --for and --max-bytes all is kept for ever. A keeper that was away asks the publishers for what it
    missed, as far as they still have it, and writes down what it never got.

    When it keeps and can be asked it prints one line of JSON on stdout, with "event": "ready". On SIGTERM or Ctrl-C it
    writes what it has taken, and ends.

    \b
    Example:
      fabric keep --store sqlite:///keep.db --for 24h 'truck/#'
    """
    for topic_filter in filters:
        validate_filter(topic_filter)
    if not valid_name(name):
        raise click.UsageError(expected("--name", name, NAME))
    logs.begin("fabric keep", as_json=log_json)
    url = store_url(url, store_file)
    ended = threading.Event()
    with (
        on_ending_signal(ended.set),
        status_page("keep", http) as status,
        contextlib.closing(open_store(url, lambda: _open(url))) as store,
        _node(connect, connect_timeout_s, ended) as node,
    ):
        from nodes.keep.keeper import Keeper
        from nodes.keep.retention import Retention

        keys = None if connect.keys is None else Path(connect.keys)
        retention = Retention(last, for_s, max_bytes)
        try:
            keeper = Keeper(
                node, store, filters, retention=retention, name=name, share=share, retained=retained, keys=keys
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        try:
            _watch(status, node, keeper, store)
            return _serve(keeper, node, name, ended, status)
        finally:
            end = time.monotonic() + LAST_WORDS_S
            if left := keeper.close(words_s=LAST_WORDS_S):
                say(f"{left} messages that it had taken could not be written: the store does not answer")
            node.close(max(CONFIRMED_S, end - time.monotonic()))


def _node(connect: Connect, connect_timeout_s: float, ended: threading.Event) -> Node:
    with leaving_at_once(ended.is_set):
        return open_node(connect, connect_timeout_s)


def _open(url: str) -> KeepStore:
    from nodes.keep.store import KeepStore

    return KeepStore(url)


def _watch(status: Status, node: Node, keeper: Keeper, store: KeepStore) -> None:
    status.watch_node(node)
    status.watch("keep", keeper.figures)
    status.watch("kept", lambda: _totals(store))


def _totals(store: KeepStore) -> dict[str, int]:
    try:
        totals = store.totals()
    except Busy:
        return {}
    return {"messages": totals.messages, "bytes": totals.bytes}


def _serve(keeper: Keeper, node: Node, name: str, ended: threading.Event, status: Status) -> Exit:
    waited_s = 0.0
    while not keeper.wait_ready(0.1):
        if ended.is_set():
            return Exit.DONE
        if why := keeper.denied():
            raise Fail(why, Exit.DENIED)
        waited_s += 0.1
        if 0 <= waited_s - REACHABLE_S < 0.1:
            say(f"not ready yet, after {REACHABLE_S:g} s: the mesh has not acknowledged what it keeps")
    if why := keeper.denied():
        raise Fail(why, Exit.DENIED)
    status.ready_with(node, keeper.problem)
    filters = list(keeper.filters)
    say_ready(f"keeper {name} keeps {', '.join(filters)}", name=name, node=node.name, filters=filters)
    notify(READY)
    while not ended.wait(0.5):
        if why := keeper.denied():
            raise Fail(why, Exit.DENIED)
    notify(STOPPING)
    status.ready(lambda: "draining")
    say("draining")
    return Exit.DONE

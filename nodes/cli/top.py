"""`fabric top`: the mesh live in the terminal."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from fabric.payloads import dumps, to_json
from nodes.cli.exits import Exit, Fail, plain
from nodes.cli.options import MESH_TIMEOUT_S, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe import mesh_view, top_view
from nodes.observe.survey import Asked, Survey
from nodes.observe.tables import fitting
from nodes.observe.top_view import Top
from nodes.operate.extras import not_installed

if TYPE_CHECKING:
    from rich.console import RenderableType

ROUNDS = 30
"""How many of the last questions may still be answered."""
ONCE_S = 1.0
Rows = Sequence[tuple[str, ...]]


class Look:
    """The mesh as it is known now: proxies by their announcements, nodes by their answers."""

    def __init__(self, survey: Survey, every_s: float) -> None:
        self._survey, self._top = survey, Top(every_s)
        self._rounds: deque[Asked] = deque(maxlen=ROUNDS)

    def ask(self) -> None:
        """Ask all nodes for their figures."""
        self._rounds.append(self._survey.ask_nodes("stats", self._survey.nodes()))

    def take(self) -> None:
        """Take the answers that came since the last call."""
        for asked in self._rounds:
            for elapsed_s, answer in asked.new():
                self._top.hear(asked.sent_at + elapsed_s, elapsed_s, answer)
        self._top.forget(time.monotonic())

    def tables(self) -> list[tuple[str, Sequence[str], Rows, Sequence[str]]]:
        """Title, columns, rows, and the columns of figures."""
        now = time.monotonic()
        with self._survey.lock:
            proxies = self._survey.view.rows()
        columns, figures = top_view.COLUMNS, top_view.COLUMNS[2:]
        found: list[tuple[str, Sequence[str], Rows, Sequence[str]]] = [
            ("proxies", mesh_view.COLUMNS, proxies, mesh_view.NUMERIC),
            ("slowest nodes", columns, self._top.slowest(now), figures),
        ]
        if losers := self._top.losers(now):
            found.append(("losses", columns, losers, figures))
        return [each for each in found if each[2]]

    def as_json(self) -> dict[str, Any]:
        with self._survey.lock:
            proxies = self._survey.view.as_json()
        return {"proxies": proxies, "nodes": self._top.as_json(time.monotonic())}


@click.command()
@click.option("--interval", "interval_s", metavar="S", type=PositiveNumber(), default=2.0, show_default=True,
              help="How often to ask the nodes.")  # fmt: skip
@click.option("--once", is_flag=True, help="Print one picture after a second, and end. The default without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each picture.")
@connect_option
@connect_timeout_option
def top(interval_s: float, once: bool, as_json: bool, connect: Connect, connect_timeout_s: float) -> Exit:
    """Show the mesh live: proxies, links, rates, the slowest nodes and losses. q or Ctrl-C ends it.

    Every node is asked for its figures; where there are more than 200, a sample of them. The columns of proxies are
    those of `fabric status`.

    \b
    LAG ms     how long a node took to answer: a question waits behind its messages
    IN/s …     messages a second that it received and published
    LOST …     messages since it began: lost, arrived unasked, refused

    \b
    Example:
      fabric top --once --json | jq '.nodes[0]'
    """
    live = sys.stdout.isatty() and not (once or as_json)
    if live and importlib.util.find_spec("rich") is None:
        raise Fail(f"{not_installed('rich', 'ops')}, or use --once", Exit.MISSING)
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        if live:
            _live(Look(survey, interval_s), interval_s)
        elif as_json and not once:
            _lines(Look(survey, interval_s), interval_s)
        else:
            _once(Look(survey, ONCE_S), as_json)
    return Exit.DONE


def _once(look: Look, as_json: bool) -> None:
    for _ in range(2):  # rates are between two answers
        look.ask()
        time.sleep(ONCE_S)
        look.take()
    if as_json:
        click.echo(dumps(to_json(look.as_json())))
    else:
        texts = [table_text(columns, rows, right) for _, columns, rows, right in look.tables()]
        click.echo("\n\n".join(texts))


def _lines(look: Look, interval_s: float) -> None:
    while True:
        look.ask()
        time.sleep(interval_s)
        look.take()
        click.echo(dumps(to_json(look.as_json())))


def _live(look: Look, interval_s: float) -> None:
    from rich.live import Live

    with _keys() as pressed, Live(screen=True, auto_refresh=False) as display:
        wait_s = min(interval_s, ONCE_S / 2)  # the first picture soon
        while True:
            look.ask()
            if pressed("q", wait_s):
                return
            look.take()
            display.update(_picture(look, display.console.width), refresh=True)
            wait_s = interval_s


def _picture(look: Look, width: int) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"fabric top  {time.strftime('%H:%M:%S')}  q ends", style="dim")]
    for title, columns, rows, right in look.tables():
        shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        # A table that is too wide loses the names of its rows first.
        places = fitting(columns, rows, width - 2, between=3)
        for at in places:
            shown.add_column(columns[at], justify="right" if columns[at] in right else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*(Text(plain(row[at])) for at in places))
        parts.append(shown)
    return Group(*parts)


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Yield `pressed(key, timeout_s)`: whether that key was pressed within the time. The terminal is left as it was."""
    if not sys.stdin.isatty():
        yield lambda key, timeout_s: time.sleep(timeout_s)
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(key: str, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
            typed = os.read(descriptor, 100)
            if not typed or key.encode() in typed:
                return True
        return False

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

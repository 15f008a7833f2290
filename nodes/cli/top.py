"""`fabric top`: the mesh live in the terminal."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from fabric.payloads import dumps, to_json
from nodes.cli.exits import Exit, Fail, plain
from nodes.cli.options import MESH_TIMEOUT_S, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.cli.terminal import keys
from nodes.observe import mesh_view, top_screen, top_view, topics_view
from nodes.observe.mesh_view import Totals
from nodes.observe.survey import SAMPLE, Asked, Survey
from nodes.observe.top_screen import Picture, Style
from nodes.observe.top_view import RECEIVED, SORTS, Order, Top
from nodes.observe.topics_view import Page, TopicsView
from nodes.operate.extras import not_installed

if TYPE_CHECKING:
    from rich.text import Text

ROUNDS = 30
"""How many of the last questions may still be answered."""
ONCE_S = 1.0
TOPICS_OF_A_NODE = 2_000
"""Of a node with more topics, the oldest of them are shown: it answers so many questions a second, and no more."""
TREND = 120
"""How many of the last totals are kept for the curves."""
STYLES: dict[Style, str] = {
    "": "", "dim": "dim", "head": "bold underline", "strong": "bold", "good": "green", "warn": "bold yellow",
    "bad": "bold red",
}  # fmt: skip
"""What styles look like. rich leaves the colours out where NO_COLOR is set, and what is bold stays."""
Rows = Sequence[tuple[str, ...]]


class Look:
    """The mesh as it is known now: proxies by their announcements, nodes by their answers."""

    def __init__(self, survey: Survey, every_s: float, order: Order, *, with_topics: bool = False) -> None:
        self.order = order
        """How nodes are sorted; keys change it."""
        self.with_topics = with_topics
        """Topics are shown in the place of nodes, and publishers are asked for them; a key changes it."""
        self._survey, self._top, self._every_s = survey, Top(every_s), every_s
        self._rounds: deque[Asked] = deque(maxlen=ROUNDS)
        """The last questions; `ask` appends."""
        self._topics = TopicsView()
        """What publishers told of topics; `_take_topics` feeds it."""
        self._topic_rounds: deque[Asked] = deque(maxlen=ROUNDS)
        """The last questions for topics; `ask` and `_take_topics` append."""
        self._trends: dict[str, deque[float]] = {name: deque(maxlen=TREND) for name in (*mesh_view.STREAMS, RECEIVED)}
        """Messages a second of all proxies together, by stream, and of all nodes; `take` appends."""

    def ask(self) -> None:
        """Ask all nodes for their figures."""
        nodes = self._survey.nodes()
        self._rounds.append(self._survey.ask_nodes("stats", nodes))
        if self.with_topics:
            self._topics.begin()
            self._topic_rounds.append(self._survey.ask_nodes("topics", nodes, "#"))

    def take(self) -> None:
        """Take the answers that came since the last call."""
        for asked in self._rounds:
            for elapsed_s, answer in asked.new():
                self._top.hear(asked.sent_at + elapsed_s, elapsed_s, answer)
        self._take_topics()
        connected = self._survey.nodes()
        self._top.forget(time.monotonic(), connected if sum(connected.values()) <= SAMPLE else None)
        with self._survey.lock:
            rates = self._survey.view.totals().rates
        for name, rate in {**rates, RECEIVED: self._top.received_rate()}.items():
            self._trends[name].append(rate)

    def _take_topics(self) -> None:
        pages: list[Page] = []
        for asked in self._topic_rounds:
            pages += [page for _, answer in asked.new() if (page := self._topics.hear(answer))]
        for page in pages:
            if page.start < TOPICS_OF_A_NODE:
                more = self._survey.ask_nodes("topics", [page.proxy], "#", start=page.start, publisher=page.publisher)
                self._topic_rounds.append(more)

    def picture(self) -> Picture:
        """What there is to show now."""
        with self._survey.lock:
            proxies, totals = self._survey.view.rows(), self._totals()
        nodes = self._top.rows(time.monotonic(), self.order)
        topics = topics_view.rows(self._topics.busy()) if self.with_topics else None
        clock = time.strftime("%H:%M:%S")
        return Picture(clock, self._every_s, totals, self._trends, proxies, nodes, self.order, topics)

    def _totals(self) -> Totals:
        """Of all proxies, without this command's own node, which answers nothing."""
        return replace(self._survey.view.totals(), nodes=sum(self._survey.nodes().values()))

    def tables(self) -> list[tuple[str, Sequence[str], Rows, Sequence[str]]]:
        """Title, columns, rows, and the columns of figures."""
        now = time.monotonic()
        with self._survey.lock:
            proxies = self._survey.view.rows()
        columns, figures = top_view.COLUMNS, top_view.COLUMNS[2:]
        found: list[tuple[str, Sequence[str], Rows, Sequence[str]]] = [
            ("proxies", mesh_view.COLUMNS, proxies, mesh_view.NUMERIC),
            ("nodes", columns, top_view.cells(self._top.rows(now, self.order)), figures),
        ]
        if losers := self._top.losers(now):
            found.append(("losses", columns, top_view.cells(losers), figures))
        return [each for each in found if each[2]]

    def as_json(self) -> dict[str, Any]:
        with self._survey.lock:
            proxies, totals = self._survey.view.as_json(), self._totals()
        nodes = self._top.as_json(time.monotonic())
        lost = sum(int(each.get("lost", 0)) for each in nodes)
        answered = {"nodes_answered": len(nodes), "received_rate": self._top.received_rate(), "lost": lost}
        summed = {**asdict(totals), **answered}
        return {"totals": summed, "proxies": proxies, "nodes": nodes}


@click.command()
@click.option("--interval", "interval_s", metavar="S", type=PositiveNumber(), default=2.0, show_default=True,
              help="How often to ask the nodes.")  # fmt: skip
@click.option("--sort", "by", type=click.Choice(list(SORTS)), default="lag", show_default=True,
              help="What nodes are sorted by: the largest first, names from a to z.")  # fmt: skip
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--topics", is_flag=True, help="Show topics in the place of nodes, the busiest first; live only.")
@click.option(
    "--once", is_flag=True, help="Print one picture after two seconds, and end. The default without a terminal."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each picture: totals, proxies, nodes.")
@connect_option
@connect_timeout_option
def top(
    interval_s: float,
    by: str,
    reverse: bool,
    topics: bool,
    once: bool,
    as_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Show the mesh live on one page: rates, proxies, links, nodes and losses. q or Ctrl-C ends it.

    Every node is asked for its figures; where there are more than 200, a sample of them. The columns of proxies are
    those of `fabric status`. What is lost, dead or not linked is red or yellow, without NO_COLOR.

    \b
    published  messages a second of all nodes, each once; the fabric's are in it
    relayed    those that came over a link, once for each proxy that needs them
    received   copies a second that nodes took: 1 published for 3 subscribers is 3
    LAG ms     how long a node took to answer: a question waits behind its messages
    IN/s …     messages a second that it received and published
    LOST …     messages since it began: lost, arrived unasked, refused
    IN+OUT     both rates together over the last pictures; one scale for all nodes

    \b
    Keys: s and S sort by the next column or the one before, r reverses, t shows
    topics (see `fabric topics`) or nodes, q ends.

    \b
    Examples:
      fabric top --sort lost
      fabric top --once --json | jq .totals
    """
    live = sys.stdout.isatty() and not (once or as_json)
    if topics and not live:
        raise click.UsageError("--topics: expected a terminal; `fabric topics` prints them")
    if live and importlib.util.find_spec("rich") is None:
        raise Fail(f"{not_installed('rich', 'ops')}, or use --once", Exit.MISSING)
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        look = Look(
            survey, interval_s if live or (as_json and not once) else ONCE_S, Order(by, reverse), with_topics=topics
        )
        if live:
            _live(look, interval_s)
        elif as_json and not once:
            _lines(look, interval_s)
        else:
            _once(look, as_json)
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

    with keys() as pressed, Live(screen=True, auto_refresh=False) as display:

        def draw() -> None:
            size, ascii_only = display.console.size, display.console.options.ascii_only
            display.update(_text(look.picture(), size.width, size.height, ascii_only), refresh=True)

        wait_s = min(interval_s, ONCE_S / 2)  # the first picture soon
        while True:
            look.ask()
            end = time.monotonic() + wait_s
            while key := pressed("qsSrt", end - time.monotonic()):
                if key == "q":
                    return
                if key == "t":
                    look.with_topics = not look.with_topics
                else:
                    look.order = ordered(look.order, key)
                draw()
            look.take()
            draw()
            wait_s = interval_s


def ordered(order: Order, key: str) -> Order:
    """Return how nodes are sorted after a key: s and S the next column and the one before, r the other way round."""
    return order._replace(reverse=not order.reverse) if key == "r" else order.next(1 if key == "s" else -1)


def _text(picture: Picture, width: int, height: int, ascii_only: bool) -> Text:
    from rich.text import Text

    shown = Text(no_wrap=True, overflow="crop", end="")
    for at, line in enumerate(top_screen.page(picture, width, height, ascii_only=ascii_only)):
        shown.append("\n" if at else "")
        for text, style in line:
            shown.append(plain(text), STYLES[style])
    return shown

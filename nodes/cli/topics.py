"""`fabric topics`: which topics carry traffic, without subscribing to them."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import click

from fabric.errors import ScopeError, expected
from fabric.payloads import dumps
from fabric.protocol.questions import nodes_topic
from fabric.topics import scope, validate_filter
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import MESH_TIMEOUT_S, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe import topics_view
from nodes.observe.survey import SAMPLE, SAMPLE_TELLING, Asked, Survey
from nodes.observe.topics_view import Page, TopicsView

LOOK_S = 0.02
QUIET_S = 1.0
REPEAT_S = 1.1
"""A node answers so many questions a second, and no more: then it can be asked again."""


@dataclass
class _Told:
    """What was found out: `view`, and what it leaves out.

    cut:   publishers of which not all topics were asked for
    total: nodes there were
    """

    view: TopicsView
    cut: int = 0
    total: int = 0


@click.command()
@click.argument("topic_filter", metavar="[FILTER]", default="#")
@click.option("--interval", "interval_s", metavar="S", type=PositiveNumber(), default=2.0, show_default=True,
              help="Between the two times that publishers are asked: rates are over this time.")  # fmt: skip
@click.option("--all", "show_all", is_flag=True, help="Show topics without traffic, too.")
@click.option("--most", metavar="N", type=click.IntRange(1), default=50, show_default=True,
              help="Show the N busiest topics.")  # fmt: skip
@click.option("--per-node", metavar="N", type=click.IntRange(1), default=10_000, show_default=True,
              help="Ask a node for so many topics at most, the oldest first.")  # fmt: skip
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=5.0, show_default=True,
              help="How long to wait for answers, each time.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a topic.")
@connect_option
@connect_timeout_option
def topics(
    topic_filter: str,
    interval_s: float,
    show_all: bool,
    most: int,
    per_node: int,
    timeout_s: float,
    as_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Show which topics carry traffic, how much, and who publishes on them.

    FILTER says which topics; without it, all of the application. Nobody subscribes to them for this: publishers count
    what they send, and are asked for their numbers twice. Guests and programs that do not run any more are not seen.

    Words on stderr say what was left out: topics beyond --most, nodes with more topics than --per-node, and nodes that
    were not asked, where there are more than 1,000. Ends with 1 when no topic carries traffic, and with 5 when the
    rules of the mesh do not allow to ask nodes: that takes the role operator or observer.

    \b
    MSG/s            messages a second, of all publishers together
    MESSAGES         since each publisher began
    LAST PUBLISHER   who published last, to a quarter of a second; - where that was longer ago

    \b
    Examples:
      fabric topics
      fabric topics 'truck/#' --json --interval 5 | jq 'select(.rate > 10)'
    """
    validate_filter(topic_filter)
    if scope(topic_filter):
        raise ScopeError(expected("filter", topic_filter, "one of the application's topics: no leading ~ or $"))
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        if denied := node.why_not("publish", nodes_topic(node.stats()["proxy"] or "p")):
            raise Fail(denied, Exit.DENIED)
        told = survey_topics(survey, topic_filter, interval_s, timeout_s, per_node)
    found = told.view.topics() if show_all else told.view.busy()
    shown = found[:most]
    if as_json:
        for each in topics_view.as_json(shown):
            click.echo(dumps(each))
    elif shown:
        click.echo(table_text(topics_view.COLUMNS, topics_view.rows(shown), right=topics_view.NUMERIC))
    for words in left_out(told, len(found), most, per_node):
        say(words)
    if not shown:
        say(f"no topic that {topic_filter} matches carries traffic")
    return Exit.DONE if shown else Exit.NOT_REACHED


def survey_topics(survey: Survey, topic_filter: str, interval_s: float, timeout_s: float, per_node: int) -> _Told:
    """Ask all nodes twice, and return what they said."""
    told = _Told(TopicsView(), total=sum(survey.nodes().values()))
    started = time.monotonic()
    told.cut = ask(survey, told.view, topic_filter, timeout_s, per_node)
    time.sleep(max(0.0, started + interval_s - time.monotonic()))
    ask(survey, told.view, topic_filter, timeout_s, per_node)
    return told


def ask(survey: Survey, view: TopicsView, topic_filter: str, timeout_s: float, per_node: int) -> int:
    """Ask all nodes once, page by page; return of how many publishers not all was asked for.

    It is over when all have answered, and every page has come; or, where only a sample answers, when nothing more came
    for `QUIET_S`; or after `timeout_s`.
    """
    view.begin()
    end = quiet_at = time.monotonic() + timeout_s
    nodes = survey.nodes()
    first = survey.ask_nodes("topics", nodes, topic_filter)
    # Where there are many only a sample answers, and nobody knows how many that are.
    wanted = sum(nodes.values()) if sum(nodes.values()) <= SAMPLE else math.inf
    pages = _Pages(survey, topic_filter)
    taken: Counter[int] = Counter()
    cut: set[int] = set()
    answered = 0
    while time.monotonic() < min(end, quiet_at) and (answered < wanted or pages.open):
        first.wait(answered + 1, LOOK_S)
        new = [answer for _, answer in first.new()]
        answered += len(new)
        new += pages.new(time.monotonic())
        if new and wanted == math.inf:
            quiet_at = time.monotonic() + QUIET_S
        for answer in new:
            following = view.hear(answer)
            if following is None:
                continue
            taken[following.publisher] += len(answer["topics"])
            if taken[following.publisher] >= per_node:
                cut.add(following.publisher)
            else:
                pages.ask(following)
    return len(cut | {page.publisher for page in pages.open})


class _Pages:
    """Answers that were broken off, and are asked for from there on."""

    def __init__(self, survey: Survey, topic_filter: str) -> None:
        self._survey, self._filter = survey, topic_filter
        self.open: dict[Page, Asked] = {}
        """Those that have not come. `ask` adds, `new` takes out."""

    def ask(self, page: Page) -> None:
        self.open[page] = self._survey.ask_nodes(
            "topics", [page.proxy], self._filter, start=page.start, publisher=page.publisher
        )

    def new(self, now: float) -> list[dict[str, Any]]:
        """Return those that came, and ask again for those that did not in time. now: monotonic"""
        found: list[dict[str, Any]] = []
        for page, asked in list(self.open.items()):
            if answers := asked.new():
                del self.open[page]
                found.append(answers[0][1])
            elif now > asked.sent_at + REPEAT_S:
                self.ask(page)
        return found


def left_out(told: _Told, found: int, most: int, per_node: int) -> list[str]:
    """Return in words what is not shown."""
    words = []
    if found > most:
        words.append(f"{most:,} of {found:,} topics are shown: --most shows more")
    if told.cut:
        words.append(f"{told.cut:,} nodes have more topics than were asked for: --per-node {per_node:,}, or --timeout")
    if told.total > SAMPLE_TELLING:
        words.append(f"there are {told.total:,} nodes: about {SAMPLE_TELLING:,} of them were asked, so rates are low")
    if told.view.passed_over:
        words.append(f"{told.view.passed_over:,} topics found no room here: ask with a narrower FILTER")
    return words

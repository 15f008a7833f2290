"""One page of `fabric top`, as lines of words with their styles, for any width and height. Pure.

Styles have names, see STYLES; what they look like is decided where they are shown. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from nodes.observe import mesh_view, topics_view
from nodes.observe.mesh_view import Totals
from nodes.observe.sparkline import sparkline
from nodes.observe.tables import fitting
from nodes.observe.top_view import COLUMNS, RECEIVED, SORTS, NodeRow, Order

Style = Literal["", "dim", "head", "strong", "good", "warn", "bad"]
STREAMS = {
    "in": ("published", "each message once"),
    "relay": ("relayed", "over links, once a proxy"),
    "guest": ("guests", "for guests, each once"),
    RECEIVED: ("received", "by nodes, each copy"),
}
"""What there are curves of, with what is counted. The stream `out` has none: proxies hand on what comes in."""
SLOW_S, STUCK_S = 0.1, 1.0
"""A node so far behind is marked; and one that is marked as stuck."""
GAP = 2
TREND_CELLS, TREND_CELLS_WIDE, WIDE = 10, 20, 110
"""Width of a node's curve; and in a terminal of WIDE columns and more."""
LEAST = ("BUILD", "RETAINED", "BASE", "GUEST/s", "SUBS", "UP", "REFUSED", "RELAY/s")
"""Columns of proxies that go first where there is no room for all; rates stay longest."""
MIN_NODES = 3
"""Rows for nodes that are kept free on a low screen."""
KEYS = "s S sort  r reverse  t topics  q quit"


class Span(NamedTuple):
    """Words in one style."""

    text: str
    style: Style = ""


Line = list[Span]


@dataclass(frozen=True)
class Picture:
    """What there is to show.

    clock:    the time of day, as it is shown
    every_s:  how often nodes are asked
    totals:   of the proxies
    trends:   messages a second by STREAMS, the oldest first
    proxies:  rows of `MeshView`
    nodes:    all that have answered, sorted
    order:    how they are sorted
    topics:   rows of `topics_view` that are shown in the place of nodes; None: nodes are shown
    """

    clock: str
    every_s: float
    totals: Totals
    trends: Mapping[str, Sequence[float]]
    proxies: Sequence[tuple[str, ...]]
    nodes: Sequence[NodeRow]
    order: Order
    topics: Sequence[tuple[str, ...]] | None = None


def page(picture: Picture, width: int, height: int, *, ascii_only: bool = False) -> list[Line]:
    """Return lines for so many columns and rows, never more."""
    head = [_title(picture, width), _counts(picture), *_streams(picture, width, ascii_only), []]
    room = height - len(head)
    proxies = _proxies(picture, width, room - 1 - 2 - MIN_NODES)
    left = room - len(proxies) - 1
    lower = _nodes(picture, width, left, ascii_only) if picture.topics is None else _topics(picture.topics, width, left)
    return [_cropped(line, width) for line in [*head, *proxies, [], *lower][: max(0, height)]]


def _cropped(line: Line, width: int) -> Line:
    found: Line = []
    for span in line:
        found.append(Span(span.text[:width], span.style))
        width -= len(found[-1].text)
    return found


def _title(picture: Picture, width: int) -> Line:
    left = f"fabric top  {picture.clock}  every {picture.every_s:g} s"
    return [Span(left, "strong"), Span(KEYS.rjust(max(0, width - len(left))), "dim")]


def _counts(picture: Picture) -> Line:
    totals, nodes = picture.totals, picture.nodes
    lost, losers = sum(row.lost for row in nodes), sum(row.lost > 0 for row in nodes)
    answered = "" if len(nodes) == totals.nodes else f" ({len(nodes):,} answered)"
    pairs: list[tuple[str, str, Style]] = [
        ("proxies", _of(totals.members, totals.proxies), _unless(totals.members >= totals.proxies, "warn")),
        ("links", _of(totals.linked, totals.links), _unless(totals.linked >= totals.links, "warn")),
        ("nodes", f"{totals.nodes:,}{answered}", ""),
        ("lost", f"{lost:,}" + (f" at {losers}" if lost else ""), _unless(not lost, "bad")),
        ("refused", f"{totals.refused:,}", _unless(not totals.refused, "warn")),
    ]
    if totals.queued_bytes >= 1 << 20:
        pairs.append(("waiting", f"{totals.queued_bytes / (1 << 20):,.0f} MiB", "warn"))
    if totals.readers_cut:
        pairs.append(("readers cut", f"{totals.readers_cut:,}", "bad"))
    if totals.dead:
        pairs.insert(1, ("dead", f"{totals.dead}", "bad"))
    return _joined(pairs)


def _of(part: int, whole: int) -> str:
    return f"{part}/{whole}"


def _unless(good: bool, style: Style) -> Style:
    return "" if good else style


def _joined(pairs: Iterable[tuple[str, str, Style]]) -> Line:
    spans: Line = []
    for name, value, style in pairs:
        spans += [Span(f"{'  ' if spans else ''}{name} ", "dim"), Span(value, style or "strong")]
    return spans


def _streams(picture: Picture, width: int, ascii_only: bool) -> list[Line]:
    """Rates of all together, each curve on its own scale; those of nothing so far left out."""
    shown = [each for each in STREAMS if each in ("in", RECEIVED) or any(picture.trends.get(each, ()))]
    trends = {each: picture.trends.get(each, ()) for each in shown}
    words = {each: f"  max {max(trends[each], default=0):,.0f}; {STREAMS[each][1]}" for each in shown}
    cells = max(10, min(60, width - 24 - max(len(each) for each in words.values())))
    return [
        [
            Span(f"{STREAMS[stream][0]:<10}", "dim"),
            Span(f"{(trends[stream] or (0,))[-1]:>10,.0f}/s  ", "strong"),
            Span(sparkline(trends[stream], cells, ascii_only=ascii_only), "good"),
            Span(words[stream], "dim"),
        ]
        for stream in shown
    ]


def _proxies(picture: Picture, width: int, most: int) -> list[Line]:
    columns, rows = mesh_view.COLUMNS, picture.proxies[: max(1, most)]
    places = fitting(columns, rows, width, between=GAP, least=LEAST)
    lines = _table(
        [columns[at] for at in places],
        [[Span(row[at], _proxy_style(columns[at], row[at])) for at in places] for row in rows],
        mesh_view.NUMERIC,
        width,
    )
    return [*lines, *_more(len(picture.proxies) - len(rows), "proxies")]


def _proxy_style(column: str, text: str) -> Style:
    if column == "STATE":
        return "bad" if text == "dead" else _unless(text == "member", "warn")
    if column == "LINKS":
        linked, _, known = text.partition("/")
        return _unless(linked == known, "warn")
    return _unless(column != "REFUSED" or text in ("", "0"), "warn")


def _nodes(picture: Picture, width: int, room: int, ascii_only: bool) -> list[Line]:
    if not picture.nodes:
        return [[Span("no node has answered yet", "dim")]]
    hidden = len(picture.nodes) > room - 1
    shown = picture.nodes[: max(1, room - 1 - hidden)]
    longest = max(20, width // 3)
    cells = TREND_CELLS if width < WIDE else TREND_CELLS_WIDE
    # On one scale: nodes are compared.
    highest = max((value for row in shown for value in row.trend[-cells:]), default=0.0)
    rows = [
        [
            _cut(row.cells[0], longest),
            *row.cells[1:],
            sparkline(row.trend, cells, highest=highest, ascii_only=ascii_only),
        ]
        for row in shown
    ]
    heads = [*COLUMNS, "IN+OUT"]
    heads[COLUMNS.index(SORTS[picture.order.by])] += _mark(picture.order, ascii_only)
    places = fitting(heads, rows, width, between=GAP, least=[head for head in heads if head.startswith("SUBS")])
    right = heads[2 : len(COLUMNS)]
    spans = [[Span(cells[at], _node_style(at, row)) for at in places] for row, cells in zip(shown, rows, strict=True)]
    return [
        *_table([heads[at] for at in places], spans, right, width),
        *_more(len(picture.nodes) - len(shown), "nodes"),
    ]


def _topics(topics: Sequence[tuple[str, ...]], width: int, room: int) -> list[Line]:
    if not topics:
        return [[Span("no topic carries traffic, or no publisher has answered yet", "dim")]]
    shown = topics[: max(1, room - 1 - (len(topics) > room - 1))]
    rows = [[_cut(row[0], max(20, width // 2)), *row[1:]] for row in shown]
    places = fitting(topics_view.COLUMNS, rows, width, between=GAP, least=("PUBLISHERS", "MESSAGES"))
    heads = [topics_view.COLUMNS[at] for at in places]
    lines = _table(heads, [[Span(row[at]) for at in places] for row in rows], topics_view.NUMERIC, width)
    return [*lines, *_more(len(topics) - len(shown), "topics")]


def _mark(order: Order, ascii_only: bool) -> str:
    falls = (order.by == "name") == order.reverse
    return ("v" if falls else "^") if ascii_only else ("▼" if falls else "▲")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _node_style(at: int, row: NodeRow) -> Style:
    column = (*COLUMNS, "IN+OUT")[at]
    if column == "LOST" and row.lost:
        return "bad"
    if column == "LAG ms":
        return "bad" if row.lag_s >= STUCK_S else _unless(row.lag_s < SLOW_S, "warn")
    if column == "REFUSED" and row.refused:
        return "warn"
    return "good" if column == "IN+OUT" else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[Span]], right: Iterable[str], width: int) -> list[Line]:
    figures = set(right)
    widths = [max(len(head), *(len(row[at].text) for row in rows), 0) for at, head in enumerate(heads)]

    def padded(at: int, span: Span) -> Span:
        text = span.text.rjust(widths[at]) if heads[at] in figures else span.text.ljust(widths[at])
        return Span(text + " " * (GAP if at < len(heads) - 1 else 0), span.style)

    lines = [
        [padded(at, span) for at, span in enumerate(row)] for row in ([Span(head, "head") for head in heads], *rows)
    ]
    lines[0].append(
        Span(" " * (width - sum(len(span.text) for span in lines[0])), "head")
    )  # a rule as wide as the page
    return lines


def _more(hidden: int, what: str) -> list[Line]:
    return [[Span(f"and {hidden:,} more {what}", "dim")]] if hidden > 0 else []

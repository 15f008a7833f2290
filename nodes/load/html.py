"""The report of a load test: one HTML file that needs nothing else, with its figures, plots and books.

Light or dark is what the reader's system asks for; printed, it is light.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from nodes.load.about import DOT, About
from nodes.load.plot import View, svg
from nodes.load.report import ROUND_COLUMNS, books_table, over_rows, round_rows, sum_words
from nodes.load.theme import THEMES
from nodes.load.units import share

SAYS = {
    "over time": "What arrived in each slot of time, and how late. The dashed line is what was due.",
    "percentiles": "How many messages took at most so long. Each further nine is as wide as the one before.",
    "heat map": "How many messages of each slot of time took how long. A stall is a column, a second mode a band.",
    "over rate": "Each rate was tried several times: lines are medians, and the band is the range of p99.",
}
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #5d6771; --line: #dfe3e7; --card: #f5f7f9;
  --good: #2c6b1d; --bad: #b2182b }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #eef1f4; --faint: #a2acb6; --line: #2f373f;
  --card: #1b2127; --good: #9bd07a; --bad: #ff7b86 } }
@media print { :root { color-scheme: light } }
body { margin: 0 auto; max-width: 68rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem } h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem }
p { margin: .3rem 0 } .faint { color: var(--faint) } .good { color: var(--good) } .bad { color: var(--bad) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.5rem 0 }
.card { background: var(--card); border-radius: .5rem; padding: .7rem .9rem }
.card b { display: block; font-size: 1.45rem; line-height: 1.3; font-variant-numeric: tabular-nums }
.card span { color: var(--faint); font-size: .85rem }
figure { margin: 0 } figure svg { width: 100%; height: auto; display: block } figcaption { color: var(--faint) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 } th { color: var(--faint); font-weight: 600 }
tr.all td { font-weight: 600 } code { font-size: .92em }
.dark { display: none }
@media screen and (prefers-color-scheme: dark) { .dark { display: block } .light { display: none } }
"""


@dataclass(frozen=True)
class Table:
    """A table with words above. last: its last row is a sum"""

    title: str
    says: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    last: bool = False


def page(view: View, about: About, verdict: str, is_good: bool, tables: Sequence[Table]) -> str:
    """Return the report.

    verdict: one sentence on how it ended
    tables:  after the plots, beside those that every report has
    """
    one = view.one
    figures = dict(zip(ROUND_COLUMNS, round_rows([one])[0], strict=True))
    cards = [
        ("sent a second", figures["sent/s"]),
        ("delivered a second", figures["delivered/s"]),
        *((f"latency {name}", figures[name]) for name in ("p50", "p99", "p99.9")),
        ("lost of what was due", share(one.loss)),
    ]
    columns, rows = books_table(one)
    over = over_rows(one.over)
    shown = [
        *tables,
        Table("The books", sum_words(one), columns, rows, last=True),
        *([Table("Arrived, and matched nothing", "By the filter whose prefix let it through.",
                 ("subscriber", "filter", "messages"), over)] if over else []),
        Table("Where it ran", "", ("what", ""), [
            (name, str(value)) for name, value in about.as_json().items()
        ]),
    ]  # fmt: skip
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(view.title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(view.title)}</h1>",
            *(f'<p class="faint">{escape(part)}</p>' for part in _lines(view.about)),
            f'<p class="{"good" if is_good else "bad"}"><strong>{escape(verdict)}</strong></p>',
            f'<div class="cards">{"".join(map(_card, cards))}</div>',
            *(_figure(view, name) for name in view.names),
            *map(_table, shown),
            "</body></html>",
        )
    )


def _lines(about: str) -> Iterable[str]:
    parts = about.split(DOT)
    return (DOT.join(parts[:3]), DOT.join(parts[3:]))


def _card(card: tuple[str, str]) -> str:
    name, value = card
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _figure(view: View, name: str) -> str:
    """A chart in each theme. Ids of an SVG count in the whole page, so each has its own."""
    drawn = "".join(
        f'<div class="{theme.name}">{_own_ids(svg(view, name, theme, bare=True), f"{name}-{theme.name}")}</div>'
        for theme in THEMES
    )
    title = escape(name.capitalize())
    return f"<h2>{title}</h2><figure><figcaption>{escape(SAYS[name])}</figcaption>{drawn}</figure>"


def _own_ids(drawn: str, prefix: str) -> str:
    prefix = prefix.replace(" ", "-").replace(".", "-")
    for before, after in (('id="', f'id="{prefix}-'), ("url(#", f"url(#{prefix}-"), ('href="#', f'href="#{prefix}-')):
        drawn = drawn.replace(before, after)
    return drawn


def _table(table: Table) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{escape(each)}</{tag}>" for each in row)

    body = "".join(
        f"<tr{' class=all' if table.last and row is table.rows[-1] else ''}>{cells(row, 'td')}</tr>"
        for row in table.rows
    )
    head = f"<tr>{cells(table.columns, 'th')}</tr>"
    says = f'<p class="faint">{escape(table.says)}</p>' if table.says else ""
    return f'<h2>{escape(table.title)}</h2>{says}<div class="wide"><table>{head}{body}</table></div>'

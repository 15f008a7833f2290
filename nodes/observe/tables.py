"""Tables as text: columns padded, numbers to the right. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[str] = ()) -> str:
    """Return rows under their columns, two spaces between.

    right: the columns that are aligned to the right
    """
    cells = [columns, *rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    pads = [str.rjust if column in set(right) else str.ljust for column in columns]
    return "\n".join(
        "  ".join(pad(text, width) for pad, text, width in zip(pads, row, widths, strict=True)).rstrip()
        for row in cells
    )


def fitting(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    between: int,
    keep: int = 2,
    least: Sequence[str] = (),
) -> list[int]:
    """Return which columns are shown in `width` characters, by their places.

    Those that say nothing (empty, or 0 in each row) go first, then the others, each time the last one.
    between: blanks between two columns
    keep:    so many columns at the front stay in any case
    least:   of those that say something, these go first, in this order
    """
    widths = [max(len(row[at]) for row in (columns, *rows)) for at in range(len(columns))]
    silent = [at for at in range(keep, len(columns)) if all(row[at] in ("", "0") for row in rows)]
    early = [columns.index(name) for name in least if columns.index(name) not in silent]
    others = [at for at in range(keep, len(columns)) if at not in silent and at not in early]
    order = [*others, *reversed(early), *silent]  # the last of these goes first
    shown = list(range(len(columns)))
    while order and sum(widths[at] + between for at in shown) - between > width:
        shown.remove(order.pop())
    return shown


def milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds with three digits that mean something: `0.352`, `12.4`, `1234`; `-` for None."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    return (
        f"{value:.3f}"
        if value < 1
        else f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
        if value < 100
        else f"{value:.0f}"
    )

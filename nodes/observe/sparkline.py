"""A row of figures as a small curve of characters. Pure."""

from __future__ import annotations

from collections.abc import Iterable

BLOCKS, PLAIN = "▁▂▃▄▅▆▇", "._-=+*#"
"""From nothing to the highest, which is no full block: rows of them would run together. The second is for terminals
that show ASCII only."""


def sparkline(values: Iterable[float | None], width: int, *, highest: float = 0.0, ascii_only: bool = False) -> str:
    """Return the last `width` of these as one character each, with blanks in front where there are fewer.

    values:  0 or more each; None, of which nothing is known, is a blank
    highest: what the highest character stands for; the largest of the values where that is larger
    """
    shown = list(values)[-width:] if width > 0 else []
    marks = PLAIN if ascii_only else BLOCKS
    top = max([highest, *(value for value in shown if value is not None)])
    drawn = "".join(" " if value is None else marks[_step(value, top, len(marks))] for value in shown)
    return drawn.rjust(max(0, width))


def _step(value: float, top: float, steps: int) -> int:
    """The lowest mark is for nothing alone: what is little is seen to be there."""
    if value <= 0 or top <= 0:
        return 0
    return max(1, min(steps - 1, round(value / top * (steps - 1))))

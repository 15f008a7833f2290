"""The live view of a load test, on stderr, for a person who watches: what is due and where it is, rates, lag, progress.

Its numbers are of the present stretch only, as those of the tables at the end are.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nodes.load.crew import Progress, Watch
from nodes.load.units import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOW_S = 0.25


class Rates:
    """Messages a second between two looks at the totals."""

    def __init__(self) -> None:
        self._before: tuple[float, int, int] | None = None
        """Time in seconds and the two totals of the last look; None before the first."""
        self.sent = self.delivered = 0.0
        """Between the last two looks."""

    def look(self, now: float, accepted: int, delivered: int) -> None:
        """Take the totals at a time in seconds. Totals may start again from 0; no rate becomes negative."""
        if self._before is not None and now > self._before[0]:
            elapsed = now - self._before[0]
            self.sent = max(0.0, (accepted - self._before[1]) / elapsed)
            self.delivered = max(0.0, (delivered - self._before[2]) / elapsed)
        self._before = (now, accepted, delivered)


@contextlib.contextmanager
def live() -> Iterator[Watch]:
    """Yield a `Watch` that shows progress until the end."""
    from rich.console import Console
    from rich.live import Live

    rates, shown = Rates(), 0.0
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as display:

        def watch(progress: Progress) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown >= SHOW_S:
                shown = now
                rates.look(now, progress.sent.accepted, progress.told.delivered)
                display.update(_picture(progress, rates), refresh=True)

        yield watch


def _picture(progress: Progress, rates: Rates) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    sent, told = progress.sent, progress.told
    table = Table.grid(padding=(0, 2))
    table.add_row(f"fabric load: {progress.doing}", ProgressBar(100, 100 * progress.share, width=40))
    lag, behind = duration(told.lag_s * 1000), duration(sent.behind_s * 1000)
    for words, value in (
        ("sent", f"{sent.accepted:,}, {rates.sent:,.0f}/s; publishers {behind} behind"),
        ("due", f"{sent.due:,} to all subscribers"),
        ("= delivered", f"{told.delivered:,}, {rates.delivered:,.0f}/s; {told.repaired:,} of it repaired; {lag} late"),
        ("+ lost", f"{told.lost:,}"),
        ("+ in flight", f"{progress.in_flight:,}"),
        ("over-delivered", f"{told.over_delivered:,}: arrived, and matched nothing"),
    ):
        table.add_row(f"  {words}", value)
    return table

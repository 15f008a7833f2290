"""Round trips by proxy: what `fabric ping` shows. Pure."""

from __future__ import annotations

from statistics import median
from typing import Any

from nodes.observe.tables import milliseconds

COLUMNS = ("PROXY", "SENT", "LOST", "MIN ms", "P50 ms", "MAX ms")


class Pings:
    """Probes and their round trips in seconds, None for one that was lost."""

    def __init__(self) -> None:
        self._trips: dict[str, list[float | None]] = {}
        """By proxy, in the order of probing. `add` appends."""

    def add(self, proxy: str, trip_s: float | None) -> None:
        self._trips.setdefault(proxy, []).append(trip_s)

    @property
    def silent(self) -> list[str]:
        """The proxies that have answered no probe."""
        return [name for name, trips in sorted(self._trips.items()) if not any(trip is not None for trip in trips)]

    def rows(self) -> list[tuple[str, ...]]:
        """One row a proxy, in the order of COLUMNS."""
        return [
            (name, str(sent), str(lost), *map(milliseconds, figures)) for name, sent, lost, *figures in self._figures()
        ]

    def as_json(self) -> list[dict[str, Any]]:
        names = ("proxy", "sent", "lost", "min_s", "p50_s", "max_s")
        return [dict(zip(names, figures, strict=True)) for figures in self._figures()]

    def _figures(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for name, trips in sorted(self._trips.items()):
            came = [trip for trip in trips if trip is not None]
            spread = (min(came), median(came), max(came)) if came else (None, None, None)
            found.append((name, len(trips), len(trips) - len(came), *spread))
        return found

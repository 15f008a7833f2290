"""What was measured, as data: works, their settings, and the figures of each peer. Pure; JSON is its form on disk."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Figures:
    """One peer at one setting: one value a repetition, in the order of the run, so that ratios can be taken within.

    values: 0 for a repetition that failed
    lost:  the share that was lost in each repetition
    note:  why there is none, or what must be known of it
    more:  further figures, by name
    """

    values: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    note: str = ""
    more: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        good = [value for value in self.values if value > 0]
        return statistics.median(good) if good else None

    @property
    def loss(self) -> float:
        return max(self.lost, default=0.0)


@dataclass
class Work:
    """One table: a work at several settings.

    better:  `higher` or `lower`
    figures: setting -> peer -> its figures
    """

    name: str
    title: str
    unit: str
    better: str
    settings: list[str]
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)

    def of(self, setting: str, peer: str) -> Figures:
        """The figures of a peer at a setting; made when there are none yet."""
        return self.figures.setdefault(setting, {}).setdefault(peer, Figures())

    def ratio(self, setting: str, peer: str, base: str = "fabric") -> float | None:
        """How many times as good as the peer the base is: the median of the ratios within each repetition."""
        ratios = self.ratios(setting, peer, base)
        return statistics.median(ratios) if ratios else None

    def ratios(self, setting: str, peer: str, base: str = "fabric", figure: str = "") -> list[float]:
        """The ratio within each repetition in which both have a figure. figure: one of `more`, of the whole run"""
        ours, theirs = (
            ([each.more[figure]] if figure in each.more else []) if figure else each.values
            for each in (self.of(setting, base), self.of(setting, peer))
        )
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]
        return [a / b if self.better == "higher" else b / a for a, b in pairs]


@dataclass
class Results:
    """A whole run. skipped: peer -> what lacked"""

    environment: dict[str, Any]
    versions: dict[str, str]
    skipped: dict[str, str]
    works: list[Work] = field(default_factory=list)

    def as_map(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_map(found: dict[str, Any]) -> Results:
        works = [
            Work(**{**work, "figures": {
                setting: {peer: Figures(**figures) for peer, figures in peers.items()}
                for setting, peers in work["figures"].items()
            }})
            for work in found["works"]
        ]  # fmt: skip
        return Results(**{**found, "works": works})

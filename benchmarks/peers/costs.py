"""CPU time of a message, from the runs of other works: rates need an idle machine, CPU time does not. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.peers.figures import Work

OF = {("fan_out", "1 subscriber"): "", ("nobody", "1 publisher"): ", to nobody"}
"""Works and settings by whose runs the parts are told, and what is added to their names."""


@dataclass(frozen=True)
class Cost:
    """CPU time of one run: seconds of all processes of a kind, and what they were for, in messages."""

    publisher_s: float
    server_s: float
    subscriber_s: float
    published: int
    delivered: int

    def parts_us(self) -> dict[str, float]:
        """Of a message, by who spent it; of the subscriber, of a message that it received."""
        return {
            "publisher": self.publisher_s / self.published * 1e6,
            "server": self.server_s / self.published * 1e6,
            "subscriber": self.subscriber_s / max(1, self.delivered) * 1e6,
        }

    def delivered_us(self) -> float:
        """Of a message that one subscriber received, all processes together."""
        return (self.publisher_s + self.server_s + self.subscriber_s) / max(1, self.delivered) * 1e6


@dataclass
class Costs:
    """Two works that are filled while others are measured.

    parts:     who spends it, to one subscriber and to nobody
    delivered: all processes, by the settings of the fan-out
    """

    parts: Work = field(default_factory=lambda: Work(
        "cpu", "CPU time of a message of 64 B", "us a message", "lower",
        ["publisher", "server", "subscriber", "publisher, to nobody", "server, to nobody"],
    ))  # fmt: skip
    delivered: Work = field(
        default_factory=lambda: Work("cpu_delivered", "CPU time of a delivery, all processes", "us", "lower", [])
    )

    def add(self, work: str, setting: str, row: str, cost: Cost) -> None:
        """Add what one repetition has cost."""
        if (work, setting) in OF:
            parts = {part + OF[work, setting]: us for part, us in cost.parts_us().items()}
            for name in set(parts) & set(self.parts.settings):
                self.parts.of(name, row).values.append(parts[name])
        if work == "fan_out":
            self._delivered(setting, row, cost.delivered_us())

    def failed(self, work: str, setting: str, row: str) -> None:
        """Count a repetition that failed, so that those of all rows stay side by side."""
        if (work, setting) in OF:
            for name in self.parts.settings:
                if name.endswith("to nobody") == (work == "nobody"):
                    self.parts.of(name, row).values.append(0.0)
        if work == "fan_out":
            self._delivered(setting, row, 0.0)

    def _delivered(self, setting: str, row: str, us: float) -> None:
        if setting not in self.delivered.settings:
            self.delivered.settings.append(setting)
        self.delivered.of(setting, row).values.append(us)

    @property
    def works(self) -> list[Work]:
        """Those in which there is something."""
        return [work for work in (self.parts, self.delivered) if work.figures]

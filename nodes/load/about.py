"""What a load test was of, in words for pictures and reports: sizes, counts, date, host. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nodes.load.report import Round
from nodes.load.schedule import Spec
from nodes.load.units import size

DOT = " · "
"""Between the parts of a line of words."""


@dataclass(frozen=True)
class About:
    """Where and when a load test ran.

    host:    its name
    began:   RFC 3339, in UTC
    cpus:    that its processes may use
    system:  its system and Python
    version: of the fabric
    """

    host: str
    began: str
    cpus: int
    system: str
    version: str

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def words(about: About, spec: Spec, one: Round, proxies: Sequence[str]) -> str:
    """Return one line, its parts with DOT between. proxies: names of those that covered the subscriptions"""
    whole = one.total
    rate = "as fast as it goes" if one.rate is None else f"{one.rate:,.0f}/s asked"
    lost = f"{whole.lost:,} lost" + (f", {whole.in_flight:,} in flight" if whole.in_flight else "")
    return DOT.join(
        (
            f"{_many(spec.publishers, 'publisher')}, {_many(spec.subscribers, 'subscriber')}, "
            f"{_many(len(spec.topics), 'topic')}",
            f"{size(spec.size_bytes)} payloads",
            f"{rate} for {one.sending_s:g} s",
            f"{whole.delivered:,} of {whole.due:,} due delivered, {lost}",
            f"{about.began[:16].replace('T', ' ')} UTC",
            f"host {about.host}, {about.cpus} CPUs, {_many(len(proxies), 'proxy', 'proxies')}",
        )
    )


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"

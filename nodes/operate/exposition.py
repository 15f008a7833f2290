"""Metrics as the text that Prometheus reads, by prometheus-client, with one registry a process.

prometheus-client is imported when the first text is asked for: nothing else needs it. Errors: ModuleNotFoundError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nodes.operate.metrics import Figures, families

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Exposition:
    """The metrics of one process.

    program: what it is: `proxy`, `frame`, …
    read:    gives the figures of its parts, see `nodes.operate.metrics`; called for each text
    """

    def __init__(self, program: str, read: Callable[[], Mapping[str, Figures]]) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._program, self._read = program, read
        self._name = ""
        """Of the process, in the mesh; set by `text` for the `collect` that it causes."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self, name: str) -> bytes:
        """Return the text as of now. name: of this process, in the mesh."""
        from prometheus_client import generate_latest

        self._name = name
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as of now; the registry calls it."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        info = GaugeMetricFamily("fabric_info", "1; what this process is", labels=("program", "name"))
        info.add_metric((self._program, self._name), 1)
        yield info
        for metric, values in families(self._read()):
            make: Any = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(metric.name, metric.meaning, labels=tuple(filter(None, metric.label.split(","))))
            for labels, value in values:
                family.add_metric(labels, value)
            yield family

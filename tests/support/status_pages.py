"""Asking a process's status page, and reading its metrics.

page = StatusPage.of(process)         # where it said that its status page is
page.get("/readyz")                   # (200, "ready")
page.metrics()                        # {'fabric_proxy_messages_total{stream="in"}': 5.0, …}
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from dataclasses import dataclass

from fabric.endpoints import Endpoints
from tests.support.processes import Process

ASK = ("--http", "http://127.0.0.1:0")
"""Options for a command whose status page is to be found by `StatusPage.of`."""


@dataclass(frozen=True)
class StatusPage:
    """Where it is, and the token to show; empty for none."""

    url: str
    token: str = ""

    @classmethod
    def of(cls, process: Process) -> StatusPage:
        """Of a process that was started with ASK."""
        found = re.search(r"status page at (http://[^\s\"]+)", process.wait_stderr("status page at"))
        assert found
        return cls(found[1])

    @classmethod
    def of_proxy(cls, base: str) -> StatusPage:
        return cls(Endpoints.parse(base).http.replace("tcp://", "http://"))

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text."""
        try:
            shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            asked = urllib.request.Request(self.url + path, headers=shown)
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, answer.read().decode().rstrip("\n")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode().rstrip("\n")

    def metrics(self) -> dict[str, float]:
        """Return every sample by its name and labels."""
        status, text = self.get("/metrics")
        assert status == 200, text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def types(self) -> dict[str, str]:
        """Return the type of every metric of the fabric, by name."""
        return dict(re.findall(r"^# TYPE (fabric_\S+) (\w+)$", self.get("/metrics")[1], re.MULTILINE))

"""A subscriber that stands still costs the proxy its bound at most, and the others nothing; it is told of its loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from tests.support.processes import FabricProcess, free_base
from tests.support.waiting import Box, until

STOP, CONTINUE = 19, 18
MIB = 1 << 20
MESSAGES = 200


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_stalled_reader_is_cut_and_told_and_harms_nobody(
    fabric: Callable[..., FabricProcess], tmp_path: Path, kind: str
) -> None:
    base = free_base() if kind == "tcp" else f"ipc://{tmp_path}/p"
    proxy = fabric("proxy", "--listen", base, "--queue-bytes", "20MiB", "--json")
    proxy.wait_event("ready")
    stalled = fabric("sub", "cam/#", "--connect", base, "--json")
    stalled.wait_stderr("acknowledged")
    got: list[int] = []
    with Node(base) as healthy, Node(base) as publisher:
        gaps = Box()
        healthy.on_gap(gaps)
        healthy.wait_ack(healthy.subscribe("cam/#", lambda message: got.append(message.number)), 30)
        audited = Box()
        healthy.wait_ack(healthy.subscribe("$fabric/audit/#", audited), 30)
        stalled.signal(STOP)
        try:
            for _ in range(MESSAGES):
                publisher.publish("cam/1", bytes(MIB), timeout_s=30)
            until(lambda: len(got) == MESSAGES, "the healthy one has all")
            event: dict[str, Any] = proxy.wait_event("slow_reader_cut")
        finally:
            stalled.signal(CONTINUE)
        assert event["door"] == "out" and "bytes were queued" in event["why"]
        assert event["from"].startswith("127.0.0.1:" if kind == "tcp" else "ipc, process")
        assert not gaps.items and publisher.stats()["uncertain"] == 0
        assert audited.wait()[0].payload["event"] == "slow_reader_cut"
        assert peak_mib(proxy) < 150, "20 MiB, what comes before a look, and the process itself"
        until(lambda: publisher.publish("cam/1", "end") and "end" in "".join(stalled.stdout[-3:]), "it is back")
        assert stalled.wait_stderr("lost")


def peak_mib(process: FabricProcess) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

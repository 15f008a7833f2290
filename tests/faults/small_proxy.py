"""A proxy with small queues, as a process of its own: `python -m tests.faults.small_proxy NAME BASE [JOIN…] [--first]`.

What takes minutes to overflow at the default of 100,000 messages takes a moment here. It prints the line of `fabric
proxy` when it is a member, and ends on SIGTERM as that does.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from fabric.proxy.proxy import Proxy
from tests.support.processes import READY_TIMEOUT_S, Process, free_base

HWM_MSGS = 500
DRAIN_S = 2.0


class SmallProxy(Process):
    """The process, ready; `base` is its address."""

    def __init__(self, log_dir: Path, *joins: str, name: str) -> None:
        self.base = free_base()
        super().__init__(command(name, self.base, *joins), log_dir, name=name)
        self.wait_event("ready", READY_TIMEOUT_S)


def command(name: str, base: str, *words: str) -> list[str]:
    return [sys.executable, "-m", __name__, name, base, *words]


def main(name: str, base: str, *words: str) -> None:
    def on_event(event: dict[str, Any]) -> None:
        print(json.dumps(event), flush=True)

    joins, first = [word for word in words if word != "--first"], "--first" in words
    proxy = Proxy(base, join=joins, name=name, first=first, hwm_msgs=HWM_MSGS, drain_s=DRAIN_S, on_event=on_event)
    signal.signal(signal.SIGTERM, lambda *_: proxy.drain())
    proxy.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Where and when a load test runs: the facts of this process, for its pictures and its JSON."""

from __future__ import annotations

import os
import platform
import socket
from datetime import UTC, datetime

from nodes.load.about import About

PACKAGE = "site-connect-fabric"


def present() -> About:
    """Return what is true now."""
    from importlib.metadata import PackageNotFoundError, version  # 20 ms, which --help does not need

    try:
        installed = version(PACKAGE)
    except PackageNotFoundError:
        installed = "not installed"
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    began = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return About(socket.gethostname(), began, len(os.sched_getaffinity(0)), system, installed)

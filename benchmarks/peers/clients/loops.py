"""One event loop a process, in a thread, for clients that are asyncio."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any


@cache
def loop(fast: bool) -> asyncio.AbstractEventLoop:
    """Return the loop, which runs. fast: uvloop's, where it is installed"""
    found = _uvloop() if fast else asyncio.new_event_loop()
    threading.Thread(target=found.run_forever, name="loop", daemon=True).start()
    return found


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        uvloop: Any = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop()
    made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return made


def run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], timeout_s: float = 120.0) -> Any:
    """Do it in the loop, and return what it returns."""
    return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)

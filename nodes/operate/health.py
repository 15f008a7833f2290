"""Whether a process is alive, and whether it is ready to be used, from the figures of its parts. Pure.

Each function returns the reason why not, in words; it is empty when all is well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HELD_UP_S = 10.0
"""A proxy's control thread turns fifty times a second. After this time without a turn it has died or hangs."""

STALLED_S = 5.0
"""Its streams answer it once a second. After so long without an answer no ack goes out: it is not ready."""

Figures = Mapping[str, Any]


def proxy_death(figures: Figures) -> str:
    held_up_s = figures["turned_s_ago"]
    return f"its control thread has not turned for {held_up_s:.0f} s" if held_up_s > HELD_UP_S else ""


def proxy_problem(figures: Figures) -> str:
    """figures: of `Proxy.stats()`."""
    state = figures.get("state", "starting")
    if state == "joining":
        waits_for = [peer["id"] for peer in figures["peers"] if not peer["linked"] and not peer["dead"]]
        unanswered = figures.get("unanswered", [])
        whys = [f"not linked with {', '.join(waits_for)}"] if waits_for else []
        whys += [f"nobody answers at {', '.join(unanswered)}"] if unanswered else []
        return f"joining{': ' if whys else ''}{'; '.join(whys)}"
    return _member_problem(figures) if state == "member" else str(state)


def _member_problem(figures: Figures) -> str:
    if figures["turned_s_ago"] > STALLED_S:
        return f"its control thread has not turned for {figures['turned_s_ago']:.0f} s"
    if figures["echoed_s_ago"] > STALLED_S:
        return f"its streams have not moved for {figures['echoed_s_ago']:.0f} s"
    files = figures["descriptors"]
    if files["used"] > files["enough"]:
        return f"{files['used']} files and connections are open, of {files['limit']} that may be"
    return ""


def node_death(figures: Figures) -> str:
    return "its node has ended" if figures["state"] == "closed" else ""


def node_problem(figures: Figures) -> str:
    """figures: of `Node.stats()`. A node that moves to another proxy stays connected."""
    if figures["state"] in ("connected", "moving"):
        return ""
    return f"{figures['state']}: not connected with a proxy, trying {figures['base']}"


def pages_problem(figures: Figures) -> str:
    """figures: of `PageHost.stats()`."""
    without, ready = figures["pages"]["other"], figures["pages"]["ready"]
    return f"{without} of {without + ready} pages have no contact code" if without else ""

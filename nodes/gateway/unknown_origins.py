"""Origins whose pages want the frame and may not have it: said in the log, once each, with the option that allows it.

The most common mistake of a site: `www` or a port is missing in `--allow-origin`. The browser shows nothing then.
"""

from __future__ import annotations

import logging

from nodes.gateway.policy import origin_of

log = logging.getLogger("nodes.gateway")

MAX_SAID = 100
"""Origins that are said and remembered; anybody may name any number of them."""


class UnknownOrigins:
    """What was said of them. Used in the event loop.

    allowed:  origins whose pages may hold the frame, besides the gateway's own
    """

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._said: set[str] = set()
        """Origins that the log has named; at most `MAX_SAID`."""

    def wanted(self, page: str, own: str) -> None:
        """A page wants the frame. `page`: its address or origin; `own`: the gateway's origin."""
        try:
            origin = origin_of("/".join(page.split("/", 3)[:3]))
        except ValueError:
            return  # no browser says so
        if origin == own or origin in self._allowed or origin in self._said or len(self._said) >= MAX_SAID:
            return
        self._said.add(origin)
        log.warning("a page of %s wants the frame, and may not have it; to allow it: --allow-origin %s", origin, origin)

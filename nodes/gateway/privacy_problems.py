"""What pages say of rules that they cannot apply: in the log, once each, for the operator who wrote them."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

log = logging.getLogger("nodes.gateway")

MAX_SAID = 100
"""Problems that are said and remembered; a page may name any number of them."""
MAX_CHARS = 300
KIND = "privacy_problem"
"""Of `fabric_gateway_refused_total`: every one is counted."""


class PrivacyProblems:
    """What was said of them. Used in the event loop. counts: of the hub; grows by one for each problem heard."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._said: set[tuple[str, str]] = set()
        """Origins with their words that the log has named; at most `MAX_SAID`."""

    def heard(self, origin: str, payload: Any) -> None:
        """A page of this origin says what it cannot apply. `payload`: its word, which may be anything; with `again` it
        is for the agent alone, who may have missed it."""
        word = payload if isinstance(payload, dict) else {}
        if word.get("again") is True:
            return
        self._counts[KIND] += 1
        why = word.get("why")
        said = origin, str(why)[:MAX_CHARS]
        if said in self._said or len(self._said) >= MAX_SAID:
            return
        self._said.add(said)
        log.warning("a page of %s cannot apply a rule on what leaves it: %r", *said)

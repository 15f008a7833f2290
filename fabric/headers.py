"""The names of headers that mean something to the fabric, once. All others belong to who publishes. Pure.

    tail        no message: the last number of a topic, again
    moved       what is missing before it may still come by another way
    cancelled   no message: the proxy's relay gave up a prefix
    trace       an operator's question, in a tail
    retain      the value is kept for who subscribes later
    held        the value was set before, and is sent again only so that it is kept
    retained    the message is such a value

Requests and answers have `reply_to`, `id` and `deadline_ns`; they mean something in the topics of inboxes alone.
"""

from __future__ import annotations

from typing import Any

from fabric.errors import LocalWireError, expected

RESERVED = frozenset({"tail", "moved", "cancelled", "trace", "retain", "held", "retained"})
_WANTED = f"another name: the fabric itself uses {', '.join(sorted(RESERVED))}"


def refuse_reserved(headers: dict[str, Any]) -> None:
    """Refuse headers whose names would make a message of a user's into one of the fabric's.

    errors: LocalWireError; what is no dict at all is left to the encoder, which refuses it
    """
    if isinstance(headers, dict) and not RESERVED.isdisjoint(headers):
        raise LocalWireError(expected("header", min(RESERVED.intersection(headers)), _WANTED))

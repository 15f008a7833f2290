"""Messages that a signal handler or a destructor publishes while its own thread is within `publish`. Pure.

They cannot wait for that call, which cannot go on before they return. So they are kept, as they were: checked, and
copied, for what they hold may be changed meanwhile.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from fabric.errors import StateError
from fabric.wire import Encoder, decode_body

MAX_NESTED = 1_000
"""That wait at most: handlers that come faster than the call that they interrupt ends, or a destructor in a loop."""

Nested = tuple[bytes, Any, dict[str, Any] | None, int | None]
"""The topic's prefix, the payload, headers, and for how many seconds it is retained, if it is."""


class NestedMessages:
    """In the order they came. `keep` may interrupt whatever else is done with them, in the same thread."""

    def __init__(self, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self.waiting: deque[Nested] = deque()
        """The oldest first; at most `MAX_NESTED`. `keep` adds; the oldest is taken away by who has sent it, in one step
        with keeping its part."""

    def __bool__(self) -> bool:
        return bool(self.waiting)

    def keep(self, prefix: bytes, payload: Any, headers: dict[str, Any] | None, expires_s: int | None = None) -> None:
        """Keep one; errors: LocalWireError for what cannot be sent, StateError when too many wait."""
        if len(self.waiting) >= MAX_NESTED:
            hint = f"{MAX_NESTED} messages of signal handlers and destructors wait for the publish they interrupt"
            raise StateError("node", "publishing", "publish", hint)
        # With an encoder for this one alone: the node's may be at work.
        body = Encoder(0, self._max_payload_bytes).part(b"", 1, 0, payload, headers)
        _, _, _, payload, read = decode_body(body, self._max_payload_bytes)
        self.waiting.append((prefix, payload, dict(read) if read is not None else None, expires_s))

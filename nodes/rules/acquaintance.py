"""What a page host, or an agent, knows of the frame nodes: the key that they have agreed on, and since when. Pure.

The first frame node that answers is believed, and the others are those of the same store, which have the same public
part. It is kept for as long as anything proven comes from them; only after KEEP_S of silence another may take their
place, as when the store was lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from nodes.rules.agreement import agreed, public_of, sealed
from nodes.rules.proofs import proof, proves

KEEP_S = 30.0
MEET = "meet"
"""The operation by which one meets a frame node."""


class Acquaintance:
    """One side's. `private`: `agreement.PRIVATE_BYTES` random ones."""

    def __init__(self, private: bytes) -> None:
        self._private = private
        self.public = public_of(private)
        """Neither changes."""
        self._key: str | None = None
        """What was agreed on; None before the first meeting. `met` sets it."""
        self._proven_at = 0.0
        """When they last said anything that was proven, on the monotonic clock; `heard` raises it."""

    @property
    def is_made(self) -> bool:
        """Whether anything was agreed on."""
        return self._key is not None

    def is_stale(self, now: float) -> bool:
        """Say whether they are to be met, also those of another store."""
        return self._key is None or now - self._proven_at > KEEP_S

    def met(self, reply: object, now: float) -> bool:
        """A frame node has answered a meeting. Return whether that can be believed."""
        public = reply.get("public") if isinstance(reply, Mapping) else None
        if not isinstance(reply, Mapping) or not isinstance(public, bytes) or not self.is_stale(now):
            return False
        key = agreed(self._private, public)
        if key is None or not proves(key, reply.get("proof"), MEET, self.public, public):
            return False
        self._key, self._proven_at = key, now
        return True

    def heard(self, now: float) -> None:
        """Something came that was proven to be a frame node's."""
        self._proven_at = max(self._proven_at, now)

    def handed_over(self, key: str, once: str) -> dict[str, object]:
        """Return the fields by which a key is handed over to them; only while `is_made`."""
        assert self._key is not None
        return {"host": self.public, "sealed": sealed(self._key, key, once)}


def meeting(key: str, public: bytes, host: bytes) -> dict[str, object]:
    """Return a frame node's answer to who wants to meet it.

    key:     what follows from its own private part and `host`, the other's public one
    public:  its own public part
    """
    return {"public": public, "proof": proof(key, MEET, host, public)}

"""Stray cancels, and how what they silenced is heard again. Pure.

XPUB passes on a cancel even of what its sender never held. At `out` this means: one peer that cancels `a/` makes the
relay give up `a/` at every other proxy, although nodes here still hold it. libzmq offers no way to refuse it, so it is
mended behind:

1. The control thread is told every cancel that reaches `out`. It answers with a *notice*, a part whose topic begins
   with the cancelled prefix, at `out`: XPUB hands it to exactly those who still hold the prefix, or a
   shorter one. After an honest cancel hardly anybody does, so honest use costs one send in the proxy. Notices wait
   for each other up to 20 ms: each alone would wake two threads.
2. A node that gets a notice of a prefix it holds *claims* it, with its next marker.
3. The proxy subscribes its relay again to what is claimed and was given up; `GivenUp` keeps the two apart from claims
   that are false or late, and from the same claim of many nodes.

What is lost in between shows as a gap.
"""

from __future__ import annotations

from collections.abc import Iterable

from fabric.protocol.markers import is_addressed

MAX_GIVEN_UP_BYTES = 4 * 1024 * 1024
"""Of prefixes; a claim comes within milliseconds, so only the newest matter."""
_OVERHEAD = 150  # bytes of a small bytes object and its place in a dict
MARK = b"#"
"""Ends the topic of a notice about a group or an own prefix. No topic holds it: no message can be mistaken for it."""


def notice_prefix(prefix: bytes) -> bytes | None:
    """Return the topic and NUL of the notice about `prefix`; None for what no node holds.

    A node's prefixes are empty, end in `/` or in NUL, or are its own (`markers.node_prefix`).
    """
    if prefix.endswith(b"\0"):
        return prefix if prefix.count(b"\0") == 1 and len(prefix) > 1 else None
    if b"\0" not in prefix and (not prefix or prefix.endswith(b"/") or is_addressed(prefix)):
        return prefix + MARK + b"\0"
    return None


class GivenUp:
    """The prefixes that left a relay as cancels, and were not subscribed again since; the oldest are forgotten."""

    def __init__(self, max_bytes: int = MAX_GIVEN_UP_BYTES) -> None:
        self._max_bytes = max_bytes
        self._prefixes: dict[bytes, None] = {}
        """Those given up, oldest first."""
        self._unasked: dict[bytes, None] = {}
        """Those of them that no notice was sent for; `take_unasked` empties it."""
        self._bytes = 0
        """Of `_prefixes`, with what each costs beside itself; at most `_max_bytes` when a method returns."""

    def relay_cancelled(self, prefix: bytes) -> None:
        """The relay cancelled `prefix`."""
        self.relay_subscribed(prefix)
        self._prefixes[prefix] = self._unasked[prefix] = None
        self._bytes += len(prefix) + _OVERHEAD
        while self._bytes > self._max_bytes:
            self.relay_subscribed(next(iter(self._prefixes)))

    def relay_subscribed(self, prefix: bytes) -> None:
        """The relay subscribed to `prefix`: nothing is to be mended."""
        if prefix in self._prefixes:
            del self._prefixes[prefix]
            self._unasked.pop(prefix, None)
            self._bytes -= len(prefix) + _OVERHEAD

    def take_unasked(self) -> list[bytes]:
        """Return the prefixes that no notice was sent for yet."""
        unasked, self._unasked = list(self._unasked), {}
        return unasked

    def claim(self, prefixes: Iterable[bytes]) -> list[bytes]:
        """Return those of `prefixes` that are given up, each once: the relay is to subscribe to them again."""
        mended = [prefix for prefix in dict.fromkeys(prefixes) if prefix in self._prefixes]
        for prefix in mended:
            self.relay_subscribed(prefix)
        return mended

    def __len__(self) -> int:
        return len(self._prefixes)

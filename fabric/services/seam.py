"""Where a history and what arrives live are joined: without a hole, and without a double. Pure.

What arrives live is held back while the history is read. The history reaches *over* the beginning of what was held
once it has, for each publisher and topic of which something is held, a number not below the first one held: whatever
the keeper got before that is in it then. So no clock has to be compared, and nothing depends on how long a message
takes to the keeper.

More may arrive than can be held. Then all that is held is let go, since the keeper has it too, and the history has to
reach over that; holding begins again when it has been read to its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fabric.wire import Message

MAX_HELD_MSGS = 20_000

_Pair = tuple[int, str]


class Seam:
    """One subscription that begins with a history.

    max_held: messages held back at most
    """

    def __init__(self, max_held: int = MAX_HELD_MSGS) -> None:
        self._max_held = max_held
        self._lasts: dict[_Pair, int] = {}
        """The highest number delivered out of the history, by publisher and topic. Once live, an entry goes with the
        first message above it."""
        self._held: deque[Message] = deque()
        """What came live and waits, in its order."""
        self._wanted: dict[_Pair, int] = {}
        """What the history has to reach, by publisher and topic: the first number that came, or the last one let go."""
        self._holds = True
        """False: more came than can be held, and what comes is let go until the history has been read to its end."""
        self._live = False
        """The history is over, and nothing is held any more. Set once."""
        self.doubles = 0
        """Messages that came live and out of the history, and were delivered once."""

    @property
    def lasts(self) -> dict[tuple[int, str], int]:
        """Return the highest number delivered out of the history, by publisher and topic."""
        return self._lasts

    def kept(self, message: Message) -> None:
        """A message of the history is delivered."""
        pair = (message.publisher, message.topic)
        self._lasts[pair] = max(message.number, self._lasts.get(pair, 0))

    def lost(self, publisher: int, topic: str, last: int) -> None:
        """The history says that numbers up to `last` are lost for good."""
        pair = (publisher, topic)
        self._lasts[pair] = max(last, self._lasts.get(pair, 0))

    def arrived(self, message: Message) -> bool:
        """A message came live; return whether to deliver it now."""
        if self._live:
            return self._is_new(message)
        if self._holds and len(self._held) < self._max_held:
            self._held.append(message)
            self._wanted.setdefault((message.publisher, message.topic), message.number)
            return False
        self._holds = False
        for each in (*self._held, message):
            self._wanted[each.publisher, each.topic] = each.number
        self._held.clear()
        return False

    def read_to_end(self, is_kept: Callable[[str], bool]) -> bool:
        """The history was read to its end; return whether that was enough. Otherwise read on behind it.

        is_kept: whether a keeper keeps this topic at all
        """
        self._holds = True
        over = {pair for pair, number in self._wanted.items() if self._lasts.get(pair, 0) >= number}
        return not any(is_kept(topic) for _, topic in self._wanted.keys() - over)

    def release(self, most: int) -> list[Message]:
        """The history is over: return what was held, at most so many, to be delivered before anything else.

        Call it again until `is_live`: what arrives meanwhile is held behind it.
        """
        taken: list[Message] = []
        while self._held and len(taken) < most:
            message = self._held.popleft()
            if self._is_new(message):
                taken.append(message)
        self._live = not self._held
        return taken

    @property
    def is_live(self) -> bool:
        """Whether all that was held was released: from now on what arrives is delivered at once."""
        return self._live

    def _is_new(self, message: Message) -> bool:
        pair = (message.publisher, message.topic)
        last = self._lasts.get(pair)
        if last is None:
            return True
        if message.number <= last:
            self.doubles += 1
            return False
        del self._lasts[pair]
        return True

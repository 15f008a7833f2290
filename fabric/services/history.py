"""Reading what keepers have kept: an iterator over pages that are asked for one after the other.

    history = History(client, "truck/#", since="10m")
    for message in history:
        ...
    history.holes       what the keeper never got

Where several keepers share the load, each is asked for its share, and the shares are merged by the publishers' clocks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any

from fabric.errors import RequestTimeout, ScopeError, StateError, expected
from fabric.protocol.histories import (
    HISTORY,
    KEEPER,
    PAGE_MSGS,
    Hole,
    Page,
    Question,
    Since,
    page_from,
    parse_since,
    share_name,
)
from fabric.services.client import Client
from fabric.topics import matches, meets, require_name, scope, validate_filter
from fabric.wire import Message

DEADLINE_S = 10.0
"""A page comes within this time, or the history ends with an error."""
SHOWN_FILTERS = 10
_LOOK_S = 0.1


class History(Iterator[Message]):
    """Messages that match a filter and were kept, oldest first. For one thread at a time.

    When it has come to the end it stops; `read_on` lets it go on with what was written since.

    client:  whose node may ask the keeper, and subscribe to the filter
    since:   see `fabric.protocol.histories.Since`
    limit:   messages at most; None: all
    keeper:  the name that the keepers were given
    stopped: asked while it waits; when it says True the history ends with a StateError
    errors:  ValueError; InvalidFilter; ScopeError for a local filter. In `next`: RequestTimeout when no keeper
             answers, NotAllowed, Busy, ServiceError
    """

    def __init__(
        self,
        client: Client,
        topic_filter: str,
        *,
        since: Since = None,
        limit: int | None = None,
        keeper: str = KEEPER,
        deadline_s: float = DEADLINE_S,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        validate_filter(topic_filter)
        if scope(topic_filter) == "local":
            raise ScopeError(expected("filter", topic_filter, "one without `~/`: local messages are never kept"))
        require_name("keeper", keeper)
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(expected("limit", limit, "a whole number of at least 1, or None"))
        age_ns, last = parse_since(since)
        self._question = Question(topic_filter, age_ns, last, min(limit or PAGE_MSGS, PAGE_MSGS))
        self._client, self._keeper, self._deadline_s, self._stopped = client, keeper, deadline_s, stopped
        self._streams: list[_Stream] = []
        """One for each share of the keepers; empty until the first answer."""
        self._left = limit
        """Messages that may still come; None: any number."""
        self.holes: list[Hole] = []
        """What the keeper never got, as far as it was read. Only ever longer."""

    def __iter__(self) -> History:
        return self

    def __next__(self) -> Message:
        if self._left == 0:
            raise StopIteration
        heads = [each for each in self._all() if each.head() is not None]
        if not heads:
            raise StopIteration
        message = min(heads, key=_Stream.sent_ns).messages.popleft()
        if self._left is not None:
            self._left -= 1
        return message

    def read_on(self) -> None:
        """Go on behind what was read, with what was written since."""
        for each in self._streams:
            each.done = False

    def is_kept(self, topic: str) -> bool:
        """Return whether the keepers that were asked keep this topic."""
        return any(matches(each, topic) for stream in self._streams for each in stream.filters)

    def why_nothing(self) -> str:
        """Say that the keepers keep nothing that matches the filter, and what they keep; "" when they do, or before
        they have answered."""
        filters = list(dict.fromkeys(each for stream in self._streams for each in stream.filters))
        if not filters or any(meets(each, self._question.topic_filter) for each in filters):
            return ""
        more = ", …" if len(filters) > SHOWN_FILTERS else ""
        return f"keeper {self._keeper!r} keeps other filters: {', '.join(filters[:SHOWN_FILTERS])}{more}"

    def _all(self) -> list[_Stream]:
        """Return the streams; the first answer tells how many there are."""
        if not self._streams:
            first = _Stream(self, self._keeper, self._question)
            shares = first.load()
            self._streams = [first]
            if shares > 1:
                names = [share_name(self._keeper, (each, shares)) for each in range(1, shares + 1)]
                self._streams = [_Stream(self, name, self._question) for name in names]
        return self._streams

    def ask(self, service: str, question: Question) -> Future[Any]:
        """Ask for a page. Keepers of one name have one store: any of them may answer."""
        return self._client.submit(service, HISTORY, question.to_map(), deadline_s=self._deadline_s)

    def wait(self, answer: Future[Any]) -> Any:
        """Wait for an answer; see the class for the errors."""
        end = time.monotonic() + self._deadline_s + 1.0
        while True:
            try:
                return answer.result(_LOOK_S)
            except CancelledError:
                raise StateError("history", "stopped", "read", "it was closed") from None
            except FutureTimeoutError:
                if self._stopped():
                    answer.cancel()
                    raise StateError("history", "stopped", "read", "it was closed") from None
                if time.monotonic() > end:
                    answer.cancel()
                    raise RequestTimeout(f"no page of a history within {self._deadline_s:g} s") from None


class _Stream:
    """The pages of one keeper, or of one share. The next page is asked for while one is read."""

    def __init__(self, history: History, service: str, question: Question) -> None:
        self._history, self._service = history, service
        self._question = question
        """What is asked for next: behind what came."""
        self._asked: Future[Any] | None = None
        """The page that is asked for; None while none is."""
        self.messages: deque[Message] = deque()
        """What came, and was not taken yet."""
        self.done = False
        """The last page said that this is the end."""
        self.filters: tuple[str, ...] = ()
        """What it keeps, as the last page said."""

    def head(self) -> Message | None:
        """Return the next message, and leave it here; None at the end."""
        while not self.messages and not self.done:
            self.load()
        return self.messages[0] if self.messages else None

    def sent_ns(self) -> int:
        return self.messages[0].sent_ns

    def load(self) -> int:
        """Wait for the next page; return how many shares there are."""
        answer = self._asked or self._history.ask(self._service, self._question)
        self._asked = None
        page: Page = page_from(self._history.wait(answer))
        self.messages.extend(page.messages)
        self._history.holes.extend(page.holes)
        self.done, self.filters = page.done, page.filters
        self._question = replace(self._question, after=page.after)
        if not self.done:
            self._asked = self._history.ask(self._service, self._question)
        return page.share[1]

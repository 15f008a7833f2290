"""For tests of keepers: messages as they are kept, and all pages of a history."""

from __future__ import annotations

from typing import Any

from fabric.protocol.histories import Cursor, Hole, Kept, Question, pack
from nodes.keep.pages import Pages
from nodes.keep.retained import RetainedValue
from nodes.keep.store import KeepStore

SECOND = 10**9


def kept(topic: str, number: int, payload: Any = None, *, publisher: int = 1, sent_ns: int = 0) -> Kept:
    return Kept(topic, publisher, number, sent_ns, pack(number if payload is None else payload), None)


def read_all(store: KeepStore, question: Question, now_ns: int = 0) -> tuple[list[tuple[str, int]], list[Hole], int]:
    """Return (topic, number) of all pages, their holes, and how many pages there were."""
    pages, found, holes, count = Pages(store), [], [], 0
    after: Cursor | None = None
    while True:
        messages, missing, after, done = pages.page(
            Question(question.topic_filter, question.age_ns, question.last, question.limit, after), now_ns
        )
        found += [(each.topic, each.number) for each in messages]
        holes += missing
        count += 1
        if done:
            return found, holes, count


def kept_value(
    topic: str, sent_ns: int, payload: Any, *, publisher: int = 1, expires_ns: int | None = None
) -> RetainedValue:
    """Return a retained value as it is kept; payload None: cleared."""
    return RetainedValue(topic, sent_ns, publisher, 1, expires_ns, payload is None, pack(payload), None)

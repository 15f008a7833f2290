"""Inboxes: topics at which one run of a client, a server or a survey is asked, and answered. Pure.

    $inbox/<incarnation>/<word>        `$inbox/5f0c…/replies`, `$inbox/5f0c…/requests`

A peer says where it wants its answer. Answers go to inboxes only: nobody can have a proxy or a service publish to a
topic of the application.
"""

from __future__ import annotations

from fabric.topics import valid_name

_INBOX = "$inbox"


def inbox_topic(incarnation: str, word: str) -> str:
    """Return the topic of an inbox. Both arguments: one topic level each, see `topics.valid_name`; not checked here."""
    return f"{_INBOX}/{incarnation}/{word}"


def is_inbox(topic: object) -> bool:
    """Return whether `topic` is an inbox, at most 208 characters. Input from a peer never raises."""
    if not isinstance(topic, str):
        return False
    levels = topic.split("/", 3)
    return len(levels) == 3 and levels[0] == _INBOX and all(valid_name(level) for level in levels[1:])

"""Inboxes: topics at which one run of a client, a server or a survey is asked, and answered. Pure.

    $inbox/<incarnation>/<word>                 `$inbox/5f0c…/replies`
    $inbox/<incarnation>/requests/<service>     who may ask a service may publish here, see `fabric.rights`

A peer says where it wants its answer. Answers go to inboxes only: nobody can have a proxy or a service publish to a
topic of the application.
"""

from __future__ import annotations

from fabric.topics import valid_name

_INBOX, _REQUESTS = "$inbox", "requests"


def inbox_topic(incarnation: str, word: str) -> str:
    """Return the topic of an inbox. Both arguments: one topic level each, see `topics.valid_name`; not checked here."""
    return f"{_INBOX}/{incarnation}/{word}"


def requests_topic(incarnation: str, service: str) -> str:
    """Return the topic at which one run of a server is asked. Both arguments: one topic level, not checked here."""
    return f"{inbox_topic(incarnation, _REQUESTS)}/{service}"


def is_inbox(topic: object) -> bool:
    """Return whether `topic` is an inbox, at most 309 characters. Input from a peer never raises."""
    if not isinstance(topic, str):
        return False
    levels = topic.split("/", 4)
    if levels[0] != _INBOX or not (len(levels) == 3 or (len(levels) == 4 and levels[2] == _REQUESTS)):
        return False
    return all(valid_name(level) for level in levels[1:])

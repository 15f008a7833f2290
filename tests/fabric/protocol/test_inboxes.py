"""Inboxes: what may be answered to, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.inboxes import inbox_topic, is_inbox
from fabric.topics import valid_name, validate_topic
from tests.support.payload_strategies import PAYLOADS


def test_what_is_made_is_an_inbox() -> None:
    assert inbox_topic("5f0c", "replies") == "$inbox/5f0c/replies"
    assert is_inbox(inbox_topic("5f0c", "replies")) and is_inbox(inbox_topic("x" * 100, "y" * 100))


@pytest.mark.parametrize(
    "topic",
    [
        *("", "inbox/x/replies", "$inbox", "$inbox/x", "$inbox//replies", "$inbox/x/", "$inbox/x/a/b", "$inbox/x/a/"),
        *("$inbox/+/x", "$inbox/x/#", "$inbox/x/a\0", "$inbox/x/\udcff", "$inboxes/x/a", "$fabric/x/y", "truck/1/x"),
        *("$inbox/x/" + "a" * 101, None, 5, b"$inbox/x/a", ["$inbox/x/a"]),
    ],
)
def test_what_is_none(topic: object) -> None:
    assert not is_inbox(topic)


@given(st.text(max_size=30) | st.text(max_size=30).map(lambda text: f"$inbox/{text}") | PAYLOADS)
def test_an_inbox_can_be_published_to_whatever_a_peer_names(topic: object) -> None:
    if is_inbox(topic):
        assert isinstance(topic, str) and len(topic) <= 208
        validate_topic(topic)
        assert inbox_topic(*topic.split("/")[1:]) == topic and all(map(valid_name, topic.split("/")[1:]))

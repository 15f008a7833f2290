"""The names of site-connect: valid topics, each once, and what a page's become on the wire."""

from __future__ import annotations

from fabric.topics import scope, validate_topic
from nodes.rules import topics

NAMES = {name: value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
TOPICS = {name: value for name, value in NAMES.items() if "/" in value and not value.endswith("/")}


def test_every_name_is_a_topic_and_stands_for_one_thing() -> None:
    assert len(TOPICS) > 15 and len(set(NAMES.values())) == len(NAMES)
    for topic in TOPICS.values():
        validate_topic(topic)


def test_what_is_local_and_what_is_the_sessions() -> None:
    assert {scope(value) for value in TOPICS.values()} == {"local", "pagesession", "system"}
    assert all(topic.startswith(topics.SPACE) for topic in topics.VISITORS | topics.DECIDED)
    assert not topics.VISITORS & topics.DECIDED


def test_on_the_wire() -> None:
    assert topics.on_the_wire("h", "s", topics.STATE) == "~pagesession/h/s/frame/state"
    assert topics.on_the_wire("h", "s", "#") == topics.session_space("h") + "s/#"
    assert topics.agent_state("ada") == "$site_connect/agent/ada/state"

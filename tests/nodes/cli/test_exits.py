"""How commands end, and what they say."""

from __future__ import annotations

import json
import logging

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli import exits
from nodes.cli.exits import plain, say
from nodes.operate import logs


@given(st.text())
def test_plain_text_has_no_control_characters_and_keeps_the_rest(text: str) -> None:
    shown = plain(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    if not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        assert shown == text


def test_words_go_to_stderr_after_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    say("two\nlines")
    with click.Context(
        click.Command("sub"), info_name="sub", parent=click.Context(click.Group("g"), info_name="fabric")
    ):
        say("here")
    out, err = capsys.readouterr()
    assert out == "" and err == "fabric: two\\u000alines\nfabric sub: here\n"


def test_words_with_an_event_are_logged_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = exits.told("acknowledged", "a/# acknowledged in 3.2 ms by p1", filter="a/#", covered=("p1",))
    exits.say(words)
    assert capsys.readouterr().err == "fabric: a/# acknowledged in 3.2 ms by p1\n"
    root, command = logging.getLogger(), logging.getLogger(logs.COMMAND)
    before = root.level, root.handlers[:], command.level
    try:
        logs.begin("fabric sub", as_json=True)
        exits.say(words)
        line = json.loads(capsys.readouterr().err)
    finally:
        root.handlers[:], command.level = before[1], before[2]
        root.setLevel(before[0])
    assert line["event"] == "acknowledged" and line["fields"] == {"filter": "a/#", "covered": ["p1"]}

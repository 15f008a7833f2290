"""How commands end, and what they say."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.exits import plain, say


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

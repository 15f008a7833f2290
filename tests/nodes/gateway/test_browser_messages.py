"""The kinds of messages a browser may send are those of docs/web-protocol.md, with its fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from nodes.gateway.browser_messages import AGENT, PAGE, BrowserMessage, Hello, Publish, fields_of
from nodes.gateway.close_codes import PAGE as DOCUMENT


def documented(begin: str) -> dict[str, set[str]]:
    """Return the kinds of one table of the document, and the fields of each."""
    table = DOCUMENT.read_text().partition(f"\n{begin}\n")[2].partition("\nFrom the gateway")[0]
    found = {}
    for first in re.findall(r"^\| (`\{.*?) \|", table, re.MULTILINE):
        example, *others = re.findall(r"`(.*?)`", first)
        kind = re.search(r'"t":"(\w+)"', example)
        assert kind, example
        for name in (kind[1], *others):
            found[name] = set(re.findall(r'"(\w+)":', example)) - {"t"}
    return found


@pytest.mark.parametrize(("begin", "kinds"), [("From the browser:", PAGE), ("From the console:", AGENT)])
def test_kinds_and_fields_are_those_of_the_protocol(begin: str, kinds: Mapping[str, type[BrowserMessage]]) -> None:
    assert documented(begin) == {kind: set(fields_of(kinds[kind])) for kind in kinds}


def test_a_field_without_a_default_must_be_there() -> None:
    assert {name for name, (_, required) in fields_of(Hello).items() if required} == {"v", "origin", "instance"}
    assert {name for name, (_, required) in fields_of(Publish).items() if required} == {"topic"}


def test_every_default_is_one_that_a_browser_may_send() -> None:
    for kind in {*PAGE.values(), *AGENT.values()}:
        for name, (what, required) in fields_of(kind).items():
            if not required:
                assert what.fits(kind.__dataclass_fields__[name].default), (kind, name)


def test_the_document_is_there() -> None:
    assert Path(DOCUMENT).is_file() and len(documented("From the browser:")) == 11

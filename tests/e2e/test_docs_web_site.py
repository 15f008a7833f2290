"""The page of a web site that docs/how-to/web-site.md shows, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.browsers import Stack, stack
from tests.support.processes import ROOT
from tests.support.reader import blocks

if TYPE_CHECKING:
    from playwright.sync_api import Dialog

BLOCKS = blocks(ROOT / "docs" / "how-to" / "web-site.md")
TAG, STUB = (each.text for each in BLOCKS if each.kind == "html")
CALLS, DIALOG = (each.text for each in BLOCKS if each.kind == "js")
SHOWN = "https://gateway.example.org"


@pytest.fixture(scope="module")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("docs"), "--consent", "ask") as found, found.scene():
        yield found


@pytest.mark.parametrize("first", [STUB, ""], ids=["calls before the script is there", "calls when it is there"])
def test_a_page_as_it_is_shown_gets_a_code_and_shows_the_help_window(browsers: Stack, first: str) -> None:
    assert SHOWN in TAG
    calls = f"<script>{CALLS}</script>" if first else ""
    visitor = browsers.foreign(f"<!doctype html><title>Shop</title>{first}{TAG.replace(SHOWN, '{url}')}{calls}")
    if not first:
        visitor.until(lambda: visitor.js("() => 'subscribe' in (window.site_connect ?? {})"), "the script is there")
        visitor.js(f"() => {{ {CALLS} }}")
    visitor.until(lambda: visitor.page.title().startswith("Code "), "the page has a contact code")
    visitor.until(lambda: visitor.view()[0] == "block", "the help window is shown")
    assert visitor.page.title() == f"Code {visitor.code()}"


@pytest.mark.parametrize("allows", [True, False])
def test_the_dialog_as_it_is_shown_asks_the_visitor(browsers: Stack, allows: bool) -> None:
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if allows else dialog.dismiss()

    html = f"<!doctype html><h1>Our shop</h1>{STUB}{TAG.replace(SHOWN, '{url}')}<script>{DIALOG}</script>"
    visitor = browsers.foreign(html)
    visitor.page.on("dialog", answer)
    visitor.listen("~pagesession/cobrowsing/+")
    desk = browsers.desk("ada" if allows else "bob").join(visitor.code())
    if allows:
        desk.sees("Our shop")
    else:
        assert visitor.hears("~pagesession/cobrowsing/declined")["reason"] == "declined"
    assert asked == [f"{'Ada' if allows else 'Bob'} asks to see this page."]


def test_every_call_in_the_table_is_there(browsers: Stack) -> None:
    visitor = browsers.foreign(f"<!doctype html><title>Shop</title>{TAG.replace(SHOWN, '{url}')}")
    visitor.until(lambda: visitor.js("() => 'subscribe' in (window.site_connect ?? {})"), "the script is there")
    page = (ROOT / "docs" / "how-to" / "web-site.md").read_text()
    shown = {
        line[3:].split("(")[0] for line in page.splitlines() if line.startswith("| `") and "(" in line.split("|")[1]
    }
    known = set(visitor.js("() => Object.keys(window.site_connect)"))
    assert (
        shown
        == {"subscribe", "unsubscribe", "publish", "stop_session", "on_consent", "frame", "retry", "configure"}
        == known
    )

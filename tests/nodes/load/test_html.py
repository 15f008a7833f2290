"""The report: one file, with everything in it and nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from nodes.load.html import Table, page
from nodes.load.plot import View
from tests.nodes.load.test_about import ABOUT
from tests.nodes.load.test_plot import SEARCH, VIEW

SEARCHED = Table("The search", "By rate.", ("rate", "held"), [("1,000/s", "3 of 3")])


def made(view: View) -> str:
    return page(view, ABOUT, "It kept its limits: <no loss>.", True, [SEARCHED])


class Reader(HTMLParser):
    """Ids, and the tags that are open at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_needs_nothing_else() -> None:
    found = made(SEARCH)
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)|url\(([^)]+)\)|@import""", found)
    assert all(first.startswith(("#", "data:")) or second.startswith("#") for first, second in loaded)
    assert "<script" not in found


def test_it_is_whole_and_ids_are_not_given_twice() -> None:
    reader = Reader()
    reader.feed(made(SEARCH))
    assert reader.open == [] and len(reader.ids) == len(set(reader.ids)) > 20
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", made(SEARCH)))
    assert used and used <= set(reader.ids)


def test_it_says_what_was_found() -> None:
    found = made(VIEW)
    for words in (
        VIEW.title, "It kept its limits: &lt;no loss&gt;.", "64 B payloads", "due 1,000 = delivered 990 + lost 7",
        "3 of 3", "Every message", "0.7 %", "2026-11-28T07:20:09Z", "prefers-color-scheme: dark",
    ):  # fmt: skip
        assert words in found, words
    assert found.count("<svg") == 2 * 3 and made(SEARCH).count("<svg") == 2 * 4, "each in both themes"
    assert "Over rate" in made(SEARCH) and "Over rate" not in found

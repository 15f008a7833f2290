"""Pages made by hand against the recorder: no secret leaves them, whenever the agent comes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.hand_made_pages import PAGES, html
from tests.support.recorded import Recorder, recorder

SECRET = re.compile(r"secret-[-\w]+")


@pytest.fixture(scope="module")
def browser() -> Iterator[Recorder]:
    with recorder() as found:
        yield found


@pytest.mark.parametrize("is_first", [True, False], ids=["while an agent views it", "before one comes"])
def test_no_secret_leaves(browser: Recorder, is_first: bool) -> None:
    leaks = {}
    for number, (name, (text, rules)) in enumerate(PAGES.items()):
        page = browser.open(html(text), rules=rules, head=is_first and number % 2 == 0)
        if is_first:
            page.record()
        page.js("() => window.later?.()")
        page.settle(20)
        if is_first:
            page.record_again()
        else:
            page.record()
        page.settle()
        told = page.told()
        assert "Marker" in told or "Paused by the site" in told, name
        if found := set(SECRET.findall(told)):
            leaks[name] = found
    assert leaks == {}


def test_their_secrets_would_be_found_without_marks_and_rules(browser: Recorder) -> None:
    """Some are secret without a mark, as typed text is. Most of the others leave where nothing hides them."""
    left, tried = 0, [text for text, _ in PAGES.values()][::3]
    for text in tried:
        page = browser.open(html(re.sub("BLOCK|MASK", "data-none", text)))
        page.record()
        page.js("() => window.later?.()")
        page.settle(20)
        left += SECRET.search(page.told()) is not None
    assert left > len(tried) / 3


def test_fields_for_a_single_character_are_masked(browser: Recorder) -> None:
    boxes = "<input maxlength=1 value=s>" * 6
    page = browser.open(html(f"<form SHOW>{boxes}<input name=note value=plain></form>"))
    page.record()
    told = page.told()
    assert '"value":"s"' not in told and told.count('"value":"*"') == 6 and '"value":"plain"' in told


def test_numbers_that_are_chosen_are_masked(browser: Recorder) -> None:
    page = browser.open(
        html("<input type=color value=#123456 name=x><input type=range value=42 name=y><input type=file>")
    )
    page.record()
    assert not re.search(r"#123456|\b42\b", page.told())

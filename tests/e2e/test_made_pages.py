"""Pages made from seeds, recorded by the recorder that sites load: no secret leaves them, and what is shown does.

FABRIC_MADE_PAGES=500 tries so many, FABRIC_MADE_FIRST=7 begins with this seed; `scripts/soak` does both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.made_pages import HIDES, KINDS, MOMENTS, RULES, SECRET_KINDS, STEPS, MadePage, made_page
from tests.support.recorded import Recorder, recorder

PAGES = int(os.environ.get("FABRIC_MADE_PAGES", "60"))
FIRST = int(os.environ.get("FABRIC_MADE_FIRST", "0"))
ORDERS = ("while an agent views it", "before an agent comes", "with the script in front")


@pytest.fixture(scope="module")
def browser() -> Iterator[Recorder]:
    with recorder() as found:
        yield found


def told(browser: Recorder, page: MadePage, order: str) -> str:
    """Play a page, and have a fresh agent come at last; return all that left it."""
    tried = browser.open(page.html, rules=RULES, head=order == ORDERS[2])
    if order == ORDERS[1]:
        tried.js("() => later()")
        tried.settle(30)
    tried.record()
    if order != ORDERS[1]:
        tried.js("() => later()")
        tried.settle(30)
    tried.record_again()
    tried.settle()
    return tried.told()


def test_no_secret_leaves_pages_that_are_made_from_seeds(browser: Recorder) -> None:
    wrong: list[str] = []
    for seed in range(FIRST, FIRST + PAGES):
        page, order = made_page(seed), ORDERS[seed % len(ORDERS)]
        found = told(browser, page, order)
        leaked = sorted(word for word in page.secrets if word in found)
        missing = sorted(word for word in page.plain if word not in found)
        if leaked or missing:
            wrong.append(f"FABRIC_MADE_FIRST={seed} FABRIC_MADE_PAGES=1, {order}: {leaked} left, {missing} did not")
    assert not wrong, "\n".join(wrong)


def test_a_secret_that_is_not_hidden_would_be_found(browser: Recorder) -> None:
    """The same pages without their marks: nearly all of what is secret only by a mark leaves."""
    page = made_page(0)
    bare = MadePage(page.html.replace("MARKS[marks[at]](element)", "0"), page.secrets, page.plain)
    found = told(browser, bare, ORDERS[0])
    assert sum(word in found for word in page.secrets) >= len(page.secrets) / 3


def test_a_seed_is_a_page_and_all_that_can_be_drawn_is_drawn() -> None:
    assert made_page(3) == made_page(3) != made_page(4)
    pages = "".join(made_page(seed).html for seed in range(60))
    for each in (*HIDES, *STEPS, *MOMENTS):
        assert f'"{each}"' in pages, each
    words = "".join(word for seed in range(60) for word in made_page(seed).secrets)
    for kind in (*KINDS, *SECRET_KINDS):
        assert f"-{kind.replace(' ', '')}" in words, kind

"""Which origins the log names, and how often."""

from __future__ import annotations

import pytest

from nodes.gateway.unknown_origins import MAX_SAID, UnknownOrigins

OWN = "https://gateway.example"


def test_each_unknown_origin_is_named_once_with_what_allows_it(caplog: pytest.LogCaptureFixture) -> None:
    origins = UnknownOrigins(frozenset({"https://shop.example"}))
    for page in (
        "https://www.shop.example/cart?x=1",
        "https://www.shop.example",
        "https://shop.example/",
        f"{OWN}/shop/",
    ):
        origins.wanted(page, OWN)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "--allow-origin https://www.shop.example"
    ]


@pytest.mark.parametrize("page", ["", "null", "about:blank", "file:///x", "https://", "https://a b/", "x" * 9])
def test_what_is_no_origin_is_not_repeated(page: str, caplog: pytest.LogCaptureFixture) -> None:
    UnknownOrigins(frozenset()).wanted(page, OWN)
    assert ("\n" not in caplog.text.strip() and page not in caplog.text) or not caplog.records


def test_it_says_so_many_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    origins = UnknownOrigins(frozenset())
    for number in range(MAX_SAID + 5):
        origins.wanted(f"https://{number}.example/", OWN)
    assert len(caplog.records) == MAX_SAID

"""The operator's rules: which hold for an origin, and what is said of a file that is wrong."""

from __future__ import annotations

import pytest

from nodes.gateway.privacy_rules import MAX_ENTRIES, MAX_REASON_CHARS, MAX_RULES, Rules, read_rules

SHOP = "https://shop.example.org"


def of(pages: str, origin: str) -> list[str] | None:
    """The paths on which a rule for these pages holds at an origin; None: on none."""
    rules = read_rules(f"[[rules]]\npages = [{pages!r}]\nprivate = true\n").of(origin)["rules"]
    return rules[0]["paths"] if rules else None


def test_without_a_file_nothing_is_ruled() -> None:
    assert Rules().of(SHOP) == {"private": False, "rules": []} == read_rules("").of(SHOP)
    assert read_rules("", is_private=True).of(SHOP) == {"private": True, "rules": []}


def test_a_rule_says_what_its_file_says() -> None:
    text = """
    [[rules]]
    mask = [".a", "p > b"]
    [[rules]]
    pages = ["https://shop.example.org/pay/*", "https://*.example.org/cart", "https://other.example/*"]
    block = ["#card"]
    show = [".price"]
    private = true
    deny_attributes = ["Title", "data-*"]
    allow_attributes = ["data-state"]
    queries = ["https://cdn.example.org/img/"]
    address = "path"
    pause = " payment page "
    """
    assert read_rules(text).of(SHOP)["rules"] == [
        {"paths": ["*"], "mask": [".a", "p > b"]},
        {
            "paths": ["/pay/*", "/cart"],
            "block": ["#card"],
            "show": [".price"],
            "private": True,
            "deny_attributes": ["title", "data-*"],
            "allow_attributes": ["data-state"],
            "queries": ["https://cdn.example.org/img/"],
            "address": "path",
            "pause": "payment page",
        },
    ]
    assert [rule["paths"] for rule in read_rules(text).of("https://other.example")["rules"]] == [["*"], ["/*"]]


@pytest.mark.parametrize(
    ("pages", "origin", "paths"),
    [
        ("*", "http://127.0.0.1:8000", ["*"]),
        ("/pay", "http://127.0.0.1:8000", ["/pay"]),
        ("*/pay/*", SHOP, ["/pay/*"]),
        (SHOP, SHOP, ["*"]),
        (f"{SHOP}/", SHOP, ["/"]),
        ("https://SHOP.example.org/*", SHOP, ["/*"]),
        ("https://*.example.org/*", SHOP, ["/*"]),
        ("https://*.example.org/*", "https://a.b.example.org", ["/*"]),
        ("https://*.example.org/*", "https://example.org", None),
        ("https://*.example.org/*", "https://shop.example.org.evil.example", None),
        ("http://127.0.0.1:*/x", "http://127.0.0.1:8123", ["/x"]),
        (f"{SHOP}/*", "http://shop.example.org", None),
        (f"{SHOP}/*", f"{SHOP}:8443", None),
        ("https://shopXexample.org/*", "https://shop.example.org", None),
    ],
)
def test_pages_are_named_by_origin_and_path(pages: str, origin: str, paths: list[str] | None) -> None:
    assert of(pages, origin) == paths


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rules]", "expected TOML"),
        ("private = true", "invalid key 'private': expected tables [[rules]] only"),
        ("rules = 1", "rules: expected at most"),
        ("[rules]", "rules: expected at most"),
        ("[[rules]]\n\n[[rules]]\nmasc = []", "rule 2 (line 3): invalid key 'masc': expected pages, private, block"),
        ("[[rules]]\nmask = '.a'", "rule 1 (line 1), mask: expected a list"),
        ("[[rules]]\nmask = [1]", "rule 1 (line 1), mask: expected a list"),
        ("[[rules]]\nmask = ['p::before']", "rule 1 (line 1), mask: invalid selector 'p::before': expected a selector"),
        ("[[rules]]\npages = []", "pages: expected one pattern or more"),
        ("[[rules]]\npages = ['shop.example.org']", "pages: invalid pattern 'shop.example.org': expected https://"),
        ("[[rules]]\npages = ['https://a/b?c']", "invalid pattern"),
        ("[[rules]]\npages = ['']", "invalid pattern"),
        ("[[rules]]\npages = ['ftp://a/']", "invalid pattern"),
        ("[[rules]]\nprivate = 'yes'", "private: invalid value 'yes': expected true or false"),
        ("[[rules]]\naddress = 'all'", 'address: invalid value \'all\': expected "site" or "path"'),
        ("[[rules]]\nqueries = ['https://cdn.example']", "queries: invalid address"),
        ("[[rules]]\nqueries = ['cdn.example/']", "queries: invalid address"),
        ("[[rules]]\nallow_attributes = ['srcdoc']", "allow_attributes: invalid attribute 'srcdoc'"),
        ("[[rules]]\nallow_attributes = ['onclick']", "allow_attributes: invalid attribute 'onclick'"),
        ("[[rules]]\nallow_attributes = ['data-csrf']", "allow_attributes: invalid attribute 'data-csrf'"),
        ("[[rules]]\ndeny_attributes = ['a b']", "deny_attributes: invalid attribute 'a b'"),
        ("[[rules]]\npause = ''", "pause: invalid value '': expected a reason"),
        (f"[[rules]]\npause = '{'x' * (MAX_REASON_CHARS + 1)}'", "pause: invalid value"),
        (f"[[rules]]\nmask = {['p'] * (MAX_ENTRIES + 1)}", f"at most {MAX_ENTRIES} strings"),
        ("[[rules]]\n" * (MAX_RULES + 1), f"at most {MAX_RULES} tables"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place_and_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_rules(text)
    assert words in str(caught.value)

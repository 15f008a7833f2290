"""What an identity may do, told without a connection: the same as its permissions say, and which right says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.identity.keys import new_pair
from fabric.identity.rules import Rules, parse
from fabric.identity.verdict import ACTS, judge

KEYS = [new_pair()[0] for _ in range(6)]
RULES: Rules = parse(f"""
mesh = ["{KEYS[0]}"]
[roles.shop]
publish = ["orders/#", "desk/{{name}}/+"]
subscribe = ["orders/#", "price/+/eur"]
request = ["stock"]
serve = ["till"]
deny_publish = ["orders/internal/#"]
deny_subscribe = ["orders/internal/#"]
[roles.strict]
deny_request = ["+"]
[identities.shop-1]
keys = ["{KEYS[1]}"]
roles = ["shop"]
[identities.two]
keys = ["{KEYS[2]}"]
roles = ["strict", "shop"]
[identities.p1]
keys = ["{KEYS[3]}"]
roles = ["proxy"]
[identities.reader]
keys = ["{KEYS[4]}"]
roles = ["guest"]
[identities.gone]
keys = []
[identities.n]
keys = ["{KEYS[5]}"]
""")


@pytest.mark.parametrize(
    ("name", "act", "what", "role", "right"),
    [
        ("shop-1", "publish", "orders/1", "shop", "orders/#"),
        ("shop-1", "publish", "desk/shop-1/x", "shop", "desk/shop-1/+"),
        ("shop-1", "subscribe", "orders/a/b", "shop", "orders/#"),
        ("shop-1", "request", "stock", "shop", "stock"),
        ("shop-1", "serve", "till", "shop", "till"),
        ("shop-1", "publish", "$fabric/who", "", ""),
        ("two", "publish", "orders/1", "shop", "orders/#"),
        ("reader", "subscribe", "orders/#", "guest", "#"),
        ("n", "publish", "a", "node", "#"),
    ],
)
def test_what_is_allowed_and_by_which_right(name: str, act: str, what: str, role: str, right: str) -> None:
    found = judge(RULES, name, act, what)
    assert (found.allowed, found.role, found.right) == (True, role, right)
    assert found.why.startswith(f"{name} may {act} ") and (repr(role) in found.why or "every identity" in found.why)


@pytest.mark.parametrize(
    ("name", "act", "what", "role", "why"),
    [
        (
            "shop-1",
            "publish",
            "other/1",
            "",
            "it needs the right, and has 'orders/#', 'desk/shop-1/+'; its roles",
        ),
        ("shop-1", "publish", "orders/internal/x", "shop", "it is denied; role 'shop' denies 'orders/internal/#'"),
        ("shop-1", "publish", "desk/shop-2/x", "", "it needs the right"),
        ("shop-1", "subscribe", "orders/#", "shop", "some of that is denied; role 'shop' denies"),
        ("shop-1", "subscribe", "#", "shop", "role 'shop' denies"),
        ("shop-1", "request", "till", "", "may not request 'till': it needs the right, and has 'stock'"),
        ("shop-1", "serve", "stock", "", "may not serve 'stock': it needs the right, and has 'till'"),
        ("two", "request", "stock", "strict", "it is denied; role 'strict' denies '+'"),
        ("p1", "publish", "a", "", "its roles (proxy) do not let it in where that is done"),
        ("p1", "subscribe", "a", "", "do not let it in"),
        ("reader", "publish", "a", "", "its roles (guest) do not let it in"),
        ("gone", "publish", "a", "", "it has no key"),
        ("n", "serve", "frame", "node", "role 'node' denies 'frame'"),
    ],
)
def test_what_is_not_and_why(name: str, act: str, what: str, role: str, why: str) -> None:
    found = judge(RULES, name, act, what)
    assert (found.allowed, found.role) == (False, role)
    assert found.why.startswith(f"{name} may not {act}") and why in found.why


def test_what_cannot_be_asked() -> None:
    with pytest.raises(KeyError):
        judge(RULES, "nobody", "publish", "a")
    with pytest.raises(ValueError, match="invalid act 'eat': expected one of publish, subscribe, request, serve"):
        judge(RULES, "n", "eat", "a")
    with pytest.raises(ValueError, match="invalid topic"):
        judge(RULES, "n", "publish", "a/+")
    with pytest.raises(ValueError, match="invalid service 'a/b'"):
        judge(RULES, "n", "serve", "a/b")


TOPICS = (
    "orders/1", "orders/internal/x", "x", "stock", "till", "frame", "desk/two/a", "site_connect/x", "price/a/eur",
)  # fmt: skip


@given(st.sampled_from(["shop-1", "two", "n"]), st.sampled_from(list(ACTS)), st.sampled_from(TOPICS))
def test_it_is_what_the_proxies_go_by(name: str, act: str, what: str) -> None:
    if act in ("request", "serve") and "/" in what:
        return
    permissions = RULES.permissions()[RULES.identities[name].keys[0]]
    assert judge(RULES, name, act, what).allowed == (getattr(permissions, f"why_not_{act}")(what) is None)
